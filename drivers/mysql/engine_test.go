package mysql

import "testing"

func TestEngineOfServer(t *testing.T) {
	for _, test := range []struct {
		has  map[string]string
		want engine
	}{
		{map[string]string{"read_only": "0"}, innoDB{}},
		{map[string]string{"wsrep_on": "OFF", "wsrep_dirty_reads": "0"}, innoDB{}},
		{map[string]string{"wsrep_on": "ON"}, galera{}},
		{map[string]string{"tidb_retry_limit": "10"}, tiDB{}},
	} {
		if got := engineOf(test.has); got != test.want {
			t.Errorf("%v: %T, want %T", test.has, got, test.want)
		}
	}
}
