package drivers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/drivers/connect"
)

func TestMayPass(t *testing.T) {
	server := func(number uint16) error {
		return fmt.Errorf("mysql: cannot open: %w", &mysql.MySQLError{Number: number})
	}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"refused":              {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true},
		"unknown host":         {&net.DNSError{Name: "db.example"}, true},
		"several hosts":        {errors.Join(server(1045), &net.OpError{Op: "dial", Err: errors.New("connection refused")}), false},
		"closed":               {fmt.Errorf("handshake: %w", io.EOF), true},
		"end of the attempt":   {context.DeadlineExceeded, true},
		"too many connections": {server(1040), true},
		"no majority":          {server(1047), true},
		"read-only":            {server(1290), true},
		"wrong password":       {server(1045), false},
		"no rights":            {server(1142), false},
		"a sentence":           {errors.New("mysql: the tables were migrated by a newer version"), false},
		"marked":               {connect.Configuration(io.EOF), false},
	} {
		if got := mayPass(test.err); got != test.want {
			t.Errorf("%s: may pass %v", name, got)
		}
	}
}
