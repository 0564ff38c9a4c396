package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// comparison is a group of servers that run side by side. A run makes one comparison after the other, so that the
// servers of one (polling replicas, for example) do not disturb the next.
type comparison struct {
	name, title string
	// servers are names of contenders, in the order of the first round.
	servers []string
	// workloads selects by name.
	workloads *regexp.Regexp
}

// databaseWorkloads omits workloads that differ little between databases, so that all databases take a quarter of an
// hour.
var (
	databaseWorkloads = regexp.MustCompile(`^(get-64|list-500.*|list-10000.*|watch-latency|mix-64|txn-64|put-.*)$`)
	replicaWorkloads  = regexp.MustCompile(`^(get-64|watch-latency|txn-64|put-64|put-256)$`)
	allWorkloads      = regexp.MustCompile("")
)

// comparisons are the comparisons with a name, in the order of a whole run. [report.references] has the servers against
// which each is measured.
var comparisons = []comparison{
	{"sqlite", "SQLite", []string{"stele", "etcd", "kine", "kine-unsynced", floor}, allWorkloads},
	{"postgres", "PostgreSQL", []string{"stele-postgres", "etcd", "kine-postgres", floor}, databaseWorkloads},
	{"mariadb", "MariaDB", []string{"stele-mariadb", "etcd", "kine-mariadb", floor}, databaseWorkloads},
	{"replicas-postgres", "Replicas on one PostgreSQL",
		[]string{"stele-postgres-2", "stele-postgres-3", "stele-postgres"}, replicaWorkloads},
	{"replicas-mariadb", "Replicas on one MariaDB", []string{"stele-mariadb-2", "stele-mariadb-3", "stele-mariadb"},
		replicaWorkloads},
}

// everything is the name of all comparisons.
const everything = "all"

// parseServers parses a list of names of servers and comparisons. Servers named one by one form a comparison, which
// comes first. baseline adds the other build of each Stele that is alone on its database.
func parseServers(list string, baseline bool) ([]comparison, error) {
	single := comparison{name: "servers", title: "Servers", workloads: allWorkloads}
	var named []comparison
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(comparisons, func(c comparison) bool { return c.name == name })
		switch {
		case name == "":
			return nil, errors.New("no servers to compare")
		case name == everything:
			named = append(named, comparisons...)
		case i >= 0:
			named = append(named, comparisons[i])
		default:
			single.servers = append(single.servers, name)
		}
	}
	if len(single.servers) > 0 {
		named = append([]comparison{single}, named...)
	}
	for i := range named {
		if slices.ContainsFunc(named[:i], func(c comparison) bool { return c.name == named[i].name }) {
			return nil, fmt.Errorf("%q is asked for twice", named[i].name)
		}
		if baseline {
			named[i].servers = withBaselines(named[i].servers)
		}
		if _, err := selectContenders(named[i].servers); err != nil {
			return nil, fmt.Errorf("%w; there are %s", err, serverNames())
		}
	}
	return named, nil
}

func withBaselines(servers []string) []string {
	out := slices.Clone(servers)
	for _, name := range servers {
		if _, ok := findContender(name + baselineSuffix); ok {
			out = append(out, name+baselineSuffix)
		}
	}
	return out
}

// serverNames describes the values of -servers.
func serverNames() string {
	names := []string{everything}
	for _, c := range comparisons {
		names = append(names, c.name)
	}
	for _, c := range contenders {
		if !strings.HasSuffix(c.name, baselineSuffix) {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, ", ")
}
