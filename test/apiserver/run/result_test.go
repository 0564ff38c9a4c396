package main

import (
	"io"
	"strings"
	"testing"
)

func TestFollow(t *testing.T) {
	var out strings.Builder
	r := follow(strings.NewReader(strings.Join([]string{
		`{"Action":"start"}`,
		`{"Action":"run","Test":"A"}`,
		`{"Action":"run","Test":"A/one"}`,
		`{"Action":"output","Test":"A/one","Output":"quiet\n"}`,
		`{"Action":"pass","Test":"A/one"}`,
		`{"Action":"run","Test":"A/two"}`,
		`{"Action":"output","Test":"A/two","Output":"loud\n"}`,
		`{"Action":"fail","Test":"A/two"}`,
		`{"Action":"fail","Test":"A"}`,
		`{"Action":"run","Test":"B"}`,
		`{"Action":"skip","Test":"B"}`,
		`{"Action":"run","Test":"C"}`,
		`{"Action":"output","Test":"C","Output":"half a line"}`,
		`{"Action":"output","Output":"panic: out of luck\n"}`,
		`{"Action":"output","Output":"FAIL\n"}`,
	}, "\n")), &out)
	for outcome, want := range map[string]int{pass: 1, fail: 1, skip: 1, unfinished: 1} {
		if got := r.count(outcome); got != want {
			t.Errorf("%d with %s, want %d", got, outcome, want)
		}
	}
	if r.ok() {
		t.Error("a run with a failed test is well")
	}
	if got, want := out.String(), "loud\npanic: out of luck\nhalf a line"; got != want {
		t.Errorf("output is %q, want %q", got, want)
	}
}

func TestReport(t *testing.T) {
	etcd := &result{target: reference, outcome: map[string]string{"A": pass, "B": skip}}
	for _, test := range []struct {
		name    string
		outcome map[string]string
		ok      bool
	}{
		{"the same", map[string]string{"A": pass, "B": skip}, true},
		{"skipped", map[string]string{"A": skip, "B": skip}, false},
		{"missing", map[string]string{"A": pass}, false},
		{"not skipped", map[string]string{"A": pass, "B": pass}, false},
		{"failed", map[string]string{"A": fail, "B": skip}, false},
		{"none", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := report(io.Discard, []*result{etcd, {target: "sqlite", outcome: test.outcome}}); got != test.ok {
				t.Errorf("well is %v, want %v", got, test.ok)
			}
		})
	}
	if !report(io.Discard, []*result{{target: "sqlite", outcome: map[string]string{"A": pass}}}) {
		t.Error("a target without a reference is not well")
	}
}
