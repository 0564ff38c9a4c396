package version

import (
	"strconv"
	"strings"
	"testing"
)

// kube-apiserver parses the version strictly: three numbers and nothing else.
func TestEtcdVersionsArePlainAndAgree(t *testing.T) {
	numbers := func(v string) [3]int {
		parts := strings.Split(v, ".")
		if len(parts) != 3 {
			t.Fatalf("%q does not have three parts", v)
		}
		var out [3]int
		for i, p := range parts {
			n, err := strconv.Atoi(p)
			if err != nil || strconv.Itoa(n) != p {
				t.Fatalf("%q: %q is not a plain number", v, p)
			}
			out[i] = n
		}
		return out
	}
	etcd, cluster := numbers(Etcd), numbers(EtcdCluster)
	if etcd[0] != cluster[0] || etcd[1] != cluster[1] {
		t.Errorf("server %s and cluster %s are of different lines", Etcd, EtcdCluster)
	}
	if etcd[0] != 3 || etcd[1] < 6 {
		t.Errorf("%s is older than what kube-apiserver needs for consistent reads from its cache", Etcd)
	}
}

func TestStringNamesAllThree(t *testing.T) {
	for _, want := range []string{Version, GitCommit, Etcd} {
		if !strings.Contains(String(), want) {
			t.Errorf("%q lacks %q", String(), want)
		}
	}
}
