package keyrange

import "testing"

func TestPrefix(t *testing.T) {
	for key, want := range map[string][2]string{
		"":             {"\x00", "\x00"},
		"/bootstrap":   {"/bootstrap", "/bootstraq"},
		"a\xff":        {"a\xff", "b"},
		"a\xff\xff":    {"a\xff\xff", "b"},
		"\xff":         {"\xff", "\x00"},
		"\xff\xff":     {"\xff\xff", "\x00"},
		"a\x00":        {"a\x00", "a\x01"},
		"/registry/\n": {"/registry/\n", "/registry/\v"},
	} {
		if r := Prefix([]byte(key)); string(r.Key) != want[0] || string(r.End) != want[1] {
			t.Errorf("%q: from %q to %q, want %q", key, r.Key, r.End, want)
		}
	}
}
