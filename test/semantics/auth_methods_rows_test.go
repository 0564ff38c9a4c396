package semantics

// methodRow states the outcomes of calls of one method while auth is enabled.
type methodRow struct {
	method, request string
	// etcd has the outcomes on etcd, and on Stele unless stele says otherwise.
	etcd, stele outcomes
	// messageOnly compares messages without codes: etcd's Lock and Election services lose the codes.
	messageOnly bool
}

// outcomes are the outcomes for a client without a token and for a user without roles.
type outcomes struct{ anonymous, roleless string }

const (
	ok           = "ok"
	emptyName    = "InvalidArgument: " + noName
	noPermission = "PermissionDenied: " + denied
	// ended means that a stream ended without an answer and without an error.
	ended = "ended"
)

// adminRow is a method that root alone may call.
func adminRow(method, request string) methodRow {
	return methodRow{method: method, request: request, etcd: outcomes{emptyName, noPermission}}
}

// keyRow is a method that needs a permission on the keys of its request.
func keyRow(method, request string) methodRow { return adminRow(method, request) }

// knownRow is a method that every user may call.
func knownRow(method, request string) methodRow {
	return methodRow{method: method, request: request, etcd: outcomes{emptyName, ok}}
}

// openRow is a method that every client may call.
func openRow(method, request string) methodRow {
	return methodRow{method: method, request: request, etcd: outcomes{ok, ok}}
}

// sessionRow is a method of the Lock and Election services.
func sessionRow(method, request string) methodRow {
	return methodRow{method: method, request: request, etcd: outcomes{noName, denied}, messageOnly: true}
}

// reflectionRow is a method of a reflection service, which etcd does not have.
func reflectionRow(service string) methodRow {
	return methodRow{
		method: "/" + service + "/ServerReflectionInfo", request: `{"list_services":""}`,
		etcd:  outcomes{"Unimplemented: unknown service " + service, "Unimplemented: unknown service " + service},
		stele: outcomes{ok, ok},
	}
}

const (
	kvService          = "/etcdserverpb.KV/"
	leaseService       = "/etcdserverpb.Lease/"
	clusterService     = "/etcdserverpb.Cluster/"
	maintenanceService = "/etcdserverpb.Maintenance/"
	authService        = "/etcdserverpb.Auth/"
	lockService        = "/v3lockpb.Lock/"
	electionService    = "/v3electionpb.Election/"
	healthService      = "/grpc.health.v1.Health/"
)

// methodRows has a row for every method that Stele serves. The key "k" exists and has the lease 7.
var methodRows = []methodRow{
	keyRow(kvService+"Range", `{"key":"aw=="}`),
	keyRow(kvService+"RangeStream", `{"key":"aw=="}`),
	keyRow(kvService+"Put", `{"key":"aw=="}`),
	keyRow(kvService+"DeleteRange", `{"key":"aw=="}`),
	keyRow(kvService+"Txn", `{"success":[{"request_range":{"key":"aw=="}}]}`),
	adminRow(kvService+"Compact", `{"revision":"1"}`),

	{
		method: "/etcdserverpb.Watch/Watch", request: `{"create_request":{"key":"aw=="}}`,
		etcd: outcomes{
			"canceled: rpc error: code = InvalidArgument desc = " + noName,
			"canceled: rpc error: code = PermissionDenied desc = " + denied,
		},
	},

	knownRow(leaseService+"LeaseGrant", `{"TTL":"60"}`),
	keyRow(leaseService+"LeaseRevoke", `{"ID":"7"}`),
	keyRow(leaseService+"LeaseKeepAlive", `{"ID":"7"}`),
	keyRow(leaseService+"LeaseTimeToLive", `{"ID":"7","keys":true}`),
	keyRow(leaseService+"LeaseLeases", `{}`),

	adminRow(clusterService+"MemberAdd", `{"peerURLs":["http://127.0.0.1:1"]}`),
	adminRow(clusterService+"MemberRemove", `{"ID":"1"}`),
	adminRow(clusterService+"MemberUpdate", `{"ID":"1","peerURLs":["http://127.0.0.1:1"]}`),
	knownRow(clusterService+"MemberList", `{"linearizable":true}`),
	adminRow(clusterService+"MemberPromote", `{"ID":"1"}`),

	keyRow(maintenanceService+"Alarm", `{"action":"ACTIVATE","alarm":"NOSPACE"}`),
	knownRow(maintenanceService+"Status", `{}`),
	adminRow(maintenanceService+"Defragment", `{}`),
	adminRow(maintenanceService+"Hash", `{}`),
	adminRow(maintenanceService+"HashKV", `{}`),
	adminRow(maintenanceService+"Snapshot", `{}`),
	adminRow(maintenanceService+"MoveLeader", `{"targetID":"1"}`),
	adminRow(maintenanceService+"Downgrade", `{"action":"CANCEL"}`),

	adminRow(authService+"AuthEnable", `{}`),
	adminRow(authService+"AuthDisable", `{}`),
	openRow(authService+"AuthStatus", `{}`),
	openRow(authService+"Authenticate", `{"name":"roleless","password":"roleless"}`),
	adminRow(authService+"UserAdd", `{"name":"new","password":"new"}`),
	adminRow(authService+"UserGet", `{"name":"root"}`),
	adminRow(authService+"UserList", `{}`),
	adminRow(authService+"UserDelete", `{"name":"root"}`),
	adminRow(authService+"UserChangePassword", `{"name":"root","password":"new"}`),
	adminRow(authService+"UserGrantRole", `{"user":"roleless","role":"root"}`),
	adminRow(authService+"UserRevokeRole", `{"name":"root","role":"root"}`),
	adminRow(authService+"RoleAdd", `{"name":"new"}`),
	adminRow(authService+"RoleGet", `{"role":"root"}`),
	adminRow(authService+"RoleList", `{}`),
	adminRow(authService+"RoleDelete", `{"role":"role"}`),
	adminRow(authService+"RoleGrantPermission", `{"name":"role","perm":{"key":"aw=="}}`),
	adminRow(authService+"RoleRevokePermission", `{"role":"role","key":"aw=="}`),

	sessionRow(lockService+"Lock", `{"name":"bG9jaw=="}`),
	sessionRow(lockService+"Unlock", `{"key":"aw=="}`),
	sessionRow(electionService+"Campaign", `{"name":"bG9jaw==","value":"dg=="}`),
	sessionRow(electionService+"Proclaim", `{"leader":{"name":"bG9jaw==","key":"aw==","rev":"1"}}`),
	sessionRow(electionService+"Leader", `{"name":"bG9jaw=="}`),
	{
		// etcd ends the stream without an error.
		method: electionService + "Observe", request: `{"name":"bG9jaw=="}`, messageOnly: true,
		etcd: outcomes{ended, ended}, stele: outcomes{noName, denied},
	},
	sessionRow(electionService+"Resign", `{"leader":{"name":"bG9jaw==","key":"aw==","rev":"1"}}`),

	openRow(healthService+"Check", `{}`),
	openRow(healthService+"List", `{}`),
	openRow(healthService+"Watch", `{}`),
	reflectionRow("grpc.reflection.v1.ServerReflection"),
	reflectionRow("grpc.reflection.v1alpha.ServerReflection"),
}
