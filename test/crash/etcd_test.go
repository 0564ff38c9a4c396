package crash

import (
	"context"
	"testing"

	"github.com/stele-db/stele/test/internal/etcd"
)

// etcdVictim is an etcd with one member.
type etcdVictim struct{ server *etcd.Server }

func newEtcd(t *testing.T) *etcdVictim {
	return &etcdVictim{server: etcd.Start(t, etcd.Options{Args: []string{
		// A single member elects itself after one election timeout.
		"--heartbeat-interval", "10", "--election-timeout", "100",
		"--watch-progress-notify-interval", progressInterval.String(),
	}})}
}

func (v *etcdVictim) Targets() []string   { return []string{v.server.Target} }
func (v *etcdVictim) ExpiresOnTime() bool { return false }
func (v *etcdVictim) Kill(int) error      { return v.server.Kill() }
func (v *etcdVictim) Launch(int) error    { return v.server.Exec() }

func (v *etcdVictim) WaitReady(ctx context.Context, _ int) error {
	return v.server.WaitReady(ctx)
}
