package semantics

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestGateway sends JSON to the gateway.
func TestGateway(t *testing.T) { onBoth(t, gatewayRules) }

// encoded returns a key of this rule in JSON's base64.
func (e *env) encoded(name string) string { return base64.StdEncoding.EncodeToString(e.key(name)) }

// answerHeader matches headers, which differ between servers. A rule reads the revision separately if it matters.
var answerHeader = regexp.MustCompile(`"header":\{"cluster_id":"\d+","member_id":"\d+",` +
	`"revision":"\d+","raft_term":"\d+"\}`)

// post sends body, with a header if one is given, and returns status and answer, its header shortened.
func (e *env) post(method, path, body string, header ...string) string {
	e.Helper()
	req, err := http.NewRequestWithContext(e.ctx, method, "http://"+e.Address+path, strings.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	if len(header) > 0 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		e.Fatal(err)
	}
	var compact bytes.Buffer // protojson adds spaces at random
	if json.Compact(&compact, answer) == nil {
		answer = compact.Bytes()
	}
	return fmt.Sprint(resp.StatusCode, " ", answerHeader.ReplaceAllString(string(answer), `"header"`))
}

var gatewayRules = []rule{
	{"requests and answers are JSON", func(e *env) {
		key, value := e.encoded("k"), base64.StdEncoding.EncodeToString([]byte("v"))
		equal(e, "put", e.post("POST", "/v3/kv/put", fmt.Sprintf(`{"key":%q,"value":%q}`, key, value)),
			`200 {"header"}`)
		kv := e.get("k")
		want := fmt.Sprintf(`{"key":%q,"create_revision":"%d","mod_revision":"%d","version":"1","value":%q}`, key,
			kv.CreateRevision, kv.ModRevision, value)
		equal(e, "range", e.post("POST", "/v3/kv/range", fmt.Sprintf(`{"key":%q}`, key)),
			`200 {"header","kvs":[`+want+`],"count":"1"}`)
		equal(e, "old path", e.post("POST", "/v3beta/kv/range", fmt.Sprintf(`{"key":%q,"count_only":true}`, key)),
			`200 {"header","count":"1"}`)
		equal(e, "names in camel case", e.post("POST", "/v3/kv/range",
			fmt.Sprintf(`{"key":%q,"countOnly":true,"unknown":1}`, key)), `200 {"header","count":"1"}`)
		txn := fmt.Sprintf(`{"compare":[{"result":"EQUAL","target":"VERSION","key":%q,"version":"1"}],`+
			`"success":[{"requestPut":{"key":%q,"value":%q}}]}`, key, key, value)
		equal(e, "txn", e.post("POST", "/v3/kv/txn", txn),
			fmt.Sprintf(`200 {"header","succeeded":true,"responses":[{"response_put":{"header":{"revision":"%d"}}}]}`,
				e.revision()))
		equal(e, "delete", e.post("POST", "/v3/kv/deleterange", fmt.Sprintf(`{"key":%q}`, key)),
			`200 {"header","deleted":"1"}`)
		equal(e, "auth", strings.Contains(e.post("POST", "/v3/auth/status", `{}`), `"authRevision":"1"`), true)
		equal(e, "status", strings.Contains(e.post("POST", "/v3/maintenance/status", `{}`), `"version":"3.7`), true)
		equal(e, "members", strings.Contains(e.post("POST", "/v3/cluster/member/list", `{}`), `"clientURLs":[`), true)
	}},
	{"errors have a code and a message", func(e *env) {
		equal(e, "no key", e.post("POST", "/v3/kv/put", `{}`),
			`400 {"code":3,"message":"etcdserver: key is not provided"}`)
		equal(e, "future", e.post("POST", "/v3/kv/range", `{"key":"aw==","revision":"1000000"}`),
			`400 {"code":11,"message":"etcdserver: mvcc: required revision is a future revision"}`)
		equal(e, "lease", e.post("POST", "/v3/kv/put", `{"key":"aw==","lease":"-5"}`),
			`404 {"code":5,"message":"etcdserver: requested lease not found"}`)
		equal(e, "method", e.post("GET", "/v3/kv/range", ``), `501 {"code":12,"message":"Method Not Allowed"}`)
		equal(e, "path", e.post("POST", "/v3/kv/none", `{}`), `404 {"code":5,"message":"Not Found"}`)
		equal(e, "no JSON", strings.HasPrefix(e.post("POST", "/v3/kv/range", `key`), `400 {"code":3,"message":`), true)
	}},
	{"a watch is a stream of lines", func(e *env) {
		req, err := http.NewRequestWithContext(e.ctx, http.MethodPost, "http://"+e.Address+"/v3/watch",
			strings.NewReader(fmt.Sprintf(`{"create_request":{"key":%q}}`, e.encoded("k"))))
		if err != nil {
			e.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			e.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		next := func() string {
			if !lines.Scan() {
				e.Fatal(lines.Err())
			}
			return lines.Text()
		}
		equal(e, "created", strings.Contains(next(), `"created":true`), true)
		e.put("k", "v")
		equal(e, "event", strings.Contains(next(), `"key":"`+e.encoded("k")+`"`), true)
	}},
}
