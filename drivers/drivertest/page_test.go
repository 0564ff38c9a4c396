package drivertest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/logstructured/log"
)

// TestPageNamesEveryTest compares docs/driver.md with the suite. The page names each test, or its beginning and *.
func TestPageNamesEveryTest(t *testing.T) {
	page, err := os.ReadFile("../../docs/driver.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\b[A-Z][A-Za-z]+\*?`).FindAllString(string(page), -1) {
		named[name] = true
	}
	everything := suite{Harness{
		Damage:    func(testing.TB) (func(testing.TB) log.Log, Damager) { return nil, nil },
		Through:   func(testing.TB) (through, direct func(testing.TB) log.Log, p *proxy.Proxy) { return nil, nil, nil },
		Registers: true,
		Notifies:  true,
	}}
	for _, test := range everything.tests() {
		found := named[test.name]
		for name := range named {
			prefix, wildcard := strings.CutSuffix(name, "*")
			found = found || wildcard && strings.HasPrefix(test.name, prefix)
		}
		if !found {
			t.Errorf("docs/driver.md does not name the test %s", test.name)
		}
	}
}
