package clients

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stele-db/stele/test/internal/target"
)

// TestHTTP compares the answers to plain HTTP: status, content type and body.
func TestHTTP(t *testing.T) {
	reference, subject := target.Reference(t), target.Subject(t)
	reference.AwaitStorageVersion(t)
	subject.AwaitStorageVersion(t)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodDelete} {
		for _, path := range []string{
			"/version", "/health", "/health?serializable=true", "/health?exclude=NOSPACE",
			"/livez", "/livez?verbose", "/livez/serializable_read", "/livez/no_such_check",
			"/readyz", "/readyz?verbose", "/readyz?verbose&exclude=linearizable_read", "/readyz/linearizable_read",
			"/readyz/serializable_read", "/readyz/data_corruption", "/readyz/non_learner",
			"/readyz?exclude=no_such_check", "/no/such/path", "/",
		} {
			t.Run(method+" "+path, func(t *testing.T) {
				want, got := fetch(t, reference, method, path), fetch(t, subject, method, path)
				if want != got {
					t.Errorf("etcd answers\n%s\nstele answers\n%s", want, got)
				}
			})
		}
	}
}

// TestMetrics checks that /metrics has the text format.
func TestMetrics(t *testing.T) {
	answer := fetch(t, target.Subject(t), http.MethodGet, "/metrics")
	if !strings.HasPrefix(answer, "200 text/plain; version=0.0.4") || !strings.Contains(answer, "go_goroutines ") {
		t.Errorf("no metrics:\n%.500s", answer)
	}
}

var semver = regexp.MustCompile(`3\.[67]\.\d+`)

// ownVersion is Stele's additional field in the answer to /version.
var ownVersion = regexp.MustCompile(`,"stele":"[^"]+"`)

// fetch returns status, content type and body. The lines of checks are sorted, because etcd writes them in no order.
func fetch(t *testing.T, server *target.Target, method, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+server.Address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	body = ownVersion.ReplaceAll(body, nil)
	lines := strings.Split(semver.ReplaceAllString(string(body), "VERSION"), "\n")
	if strings.Contains(path, "verbose") {
		slices.Sort(lines)
	}
	return fmt.Sprintf("%d %s allow=%s\n%s", a.StatusCode, a.Header.Get("Content-Type"), a.Header.Get("Allow"),
		strings.Join(lines, "\n"))
}
