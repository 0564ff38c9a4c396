package migrations

import (
	"reflect"
	"testing"
	"testing/fstest"
)

func TestReadIsInOrder(t *testing.T) {
	files := fstest.MapFS{
		"migrations/0002_b.sql": {Data: []byte("two")},
		"migrations/0001_a.sql": {Data: []byte("one")},
		"migrations/README":     {Data: []byte("none")},
	}
	if got := Read(files); !reflect.DeepEqual(got, []string{"one", "two"}) {
		t.Errorf("%q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a gap was accepted")
		}
	}()
	files["migrations/0004_d.sql"] = &fstest.MapFile{}
	Read(files)
}

func TestSplit(t *testing.T) {
	got := Split("-- A comment; of words.\nCREATE TABLE a (\n  b int -- the end\n);\n\n-- brief\n-- optional\nALTER " +
		"TABLE a;\n")
	want := []Statement{{SQL: "CREATE TABLE a (\n  b int -- the end\n)"}, {SQL: "ALTER TABLE a", Optional: true,
		Brief: true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
