package kubernetes

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Parallel checks mostly wait, so all of them may run at once.
	if err := flag.Set("test.parallel", "16"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(database.Main(m))
}

// build runs ./build once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs("bin")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("./build", dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return dir, cmd.Run()
})

// output runs a command and returns its output; an error contains its error output.
func output(ctx context.Context, binary string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, args...).Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%s %s: %w: %s", filepath.Base(binary), strings.Join(args, " "), err, failed.Stderr)
	}
	return string(out), err
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
