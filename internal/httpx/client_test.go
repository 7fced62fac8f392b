package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lockstep/internal/fault"
)

// client returns a client of server that notes its waits instead of waiting.
func client(t *testing.T, server string, p Policy) (*Client, *[]time.Duration) {
	t.Helper()
	c, err := New(Options{Endpoint: server, Token: "hf_secret", Agent: "lockstep/test", Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	waits := new([]time.Duration)
	c.sleep = func(ctx context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return ctx.Err()
	}
	return c, waits
}

// answers serves its functions in turn, the last one for ever.
func answers(t *testing.T, turns ...http.HandlerFunc) *httptest.Server {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn := turns[min(n, len(turns)-1)]
		n++
		turn(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
}

// cut promises more bytes than it sends.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	io.WriteString(w, `{"half`)
}

func get(c *Client, address string) (string, error) {
	data, _, err := c.Bytes(context.Background(), Request{URL: address}, 1000)
	return string(data), err
}

func TestRetriesUntilAnswered(t *testing.T) {
	s := answers(t, status(503), status(429, "Retry-After", "7"), status(429, "RateLimit", `"api";r=0;t=40`), cut, status(500), text("here"))
	c, waits := client(t, s.URL, Policy{First: time.Second, Longest: 3 * time.Second})
	got, err := get(c, s.URL+"/x")
	if err != nil || got != "here" {
		t.Fatalf("%q, %v", got, err)
	}
	w := *waits
	if len(w) != 5 || w[1] != 8*time.Second || w[2] != 41*time.Second || w[0] < time.Second || w[0] > 5*time.Second/4 || w[4] < 3*time.Second {
		t.Errorf("waited %v", w)
	}
}

func TestGivesUp(t *testing.T) {
	for name, tt := range map[string]struct {
		turn  http.HandlerFunc
		kind  fault.Kind
		tries int
		says  string
	}{
		"401": {status(401), fault.Refused, 1, "HF_TOKEN"},
		"403": {status(403, "X-Error-Code", "GatedRepo", "X-Error-Message", "Access is restricted"), fault.Refused, 1, "Access is restricted"},
		"404": {status(404), fault.Refused, 1, "check the names"},
		"control": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(403)
			io.WriteString(w, `{"error":"no\u001b[2J\u009b2J\u0085way"}`)
		}, fault.Refused, 1, "no [2J 2J way"},
		"429 too long": {status(429, "Retry-After", "86400"), fault.Network, 1, "wait of 24h0m1s"},
		"web page 500": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(502)
		}, fault.Network, 3, "with a web page"},
	} {
		s := answers(t, tt.turn)
		c, waits := client(t, s.URL, Policy{First: time.Minute, Longest: time.Minute, Patience: 2 * time.Minute})
		c.sleep = func(context.Context, time.Duration) error {
			*waits = append(*waits, 0)
			c.policy.Patience -= time.Minute // as if the wait had been
			return nil
		}
		_, err := get(c, s.URL+"/x?signature=SECRET")
		var e *Error
		if !errors.As(err, &e) || fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", name, err)
		}
		if len(*waits) > tt.tries-1 {
			t.Errorf("%s: %d waits", name, len(*waits))
		}
	}
}

// TestStrangers: a host that never answered is given up soon.
func TestStrangers(t *testing.T) {
	s := answers(t, text("x"))
	address := s.URL
	s.Close()
	c, waits := client(t, address, Policy{Strangers: 3})
	_, err := get(c, address)
	if fault.KindOf(err) != fault.Network || len(*waits) != 2 || !strings.Contains(err.Error(), "no connection") || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Errorf("%d waits, %v", len(*waits), err)
	}
	var told []time.Duration
	c, waits = client(t, address, Policy{Strangers: 3, Patience: 40 * time.Second})
	c.notice = func(_ error, wait time.Duration) { told = append(told, wait) }
	c.sleep = func(_ context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		c.policy.Patience -= d // as if the wait had been
		return nil
	}
	c.Trust()
	if _, err := get(c, address); fault.KindOf(err) != fault.Network || len(*waits) < 5 || len(told) != len(*waits)-2 {
		t.Errorf("trusted: waits of %v, notices of %v, %v", *waits, told, err)
	}
	offline, err := New(Options{Endpoint: address, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(offline, address); !errors.Is(err, ErrOffline) {
		t.Errorf("offline: %v", err)
	}
}

func TestOnceAndAccept(t *testing.T) {
	s := answers(t, status(503), status(409))
	c, waits := client(t, s.URL, Policy{})
	take := func(*http.Response) error { return nil }
	if err := c.Do(context.Background(), Request{Method: "POST", URL: s.URL, Once: true}, take); err == nil || len(*waits) != 0 {
		t.Errorf("%v after %d waits", err, len(*waits))
	}
	if err := c.Do(context.Background(), Request{URL: s.URL, Accept: []int{409}}, take); err != nil {
		t.Error(err)
	}
}

// TestTokenStaysHome: another port, where net/http would carry the header
// along, gets no token; the endpoint does, also behind a redirect.
func TestTokenStaysHome(t *testing.T) {
	seen := map[string]string{}
	note := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { seen[name] = r.Header.Get("Authorization") }
	}
	cdn := httptest.NewServer(note("cdn"))
	defer cdn.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		note("first")(w, r)
		http.Redirect(w, r, cdn.URL+"/signed", http.StatusFound)
	})
	mux.HandleFunc("/near", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/here", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/here", note("here"))
	s := httptest.NewServer(mux)
	defer s.Close()
	c, _ := client(t, s.URL, Policy{})
	for _, path := range []string{"/away", "/near"} {
		if _, err := get(c, s.URL+path); err != nil {
			t.Fatal(err)
		}
	}
	if seen["first"] != "Bearer hf_secret" || seen["here"] != "Bearer hf_secret" || seen["cdn"] != "" {
		t.Errorf("tokens seen: %q", seen)
	}
}

func TestSilentBodyIsCutOff(t *testing.T) {
	release := make(chan struct{})
	s := answers(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "one")
		w.(http.Flusher).Flush()
		<-release
	}, text("whole"))
	defer close(release)
	c, waits := client(t, s.URL, Policy{Silence: 50 * time.Millisecond})
	if got, err := get(c, s.URL); err != nil || got != "whole" || len(*waits) != 1 {
		t.Errorf("%q, %v, %d waits", got, err, len(*waits))
	}
}

func TestJSON(t *testing.T) {
	var out struct{ A int }
	for body, want := range map[string]string{
		`{"a":1}`: "", "<!doctype html><p>Log in": "web page", `{"a":`: "not the JSON", `{"a":1} {}`: "follows",
		strings.Repeat(" ", 2000): "longer than 1000",
	} {
		s := answers(t, text(body))
		c, waits := client(t, s.URL, Policy{})
		_, err := c.JSON(context.Background(), Request{URL: s.URL + "/p?q"}, 1000, &out)
		if want == "" && (err != nil || out.A != 1) || want != "" && (err == nil || fault.KindOf(err) != fault.Damaged || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.20q: %v", body, err)
		}
		if len(*waits) > 0 {
			t.Errorf("%.20q: a stranger was asked again", body)
		}
	}
}

// TestGarbled: nonsense from a host that has made sense before is an outage.
func TestGarbled(t *testing.T) {
	page, good := text("<!doctype html><p>Log in"), text(`{"a":1}`)
	bad := []http.HandlerFunc{page, text(`{"a":`), text(""), cut, page}
	for name, trusted := range map[string]bool{"answered before": false, "trusted": true} {
		turns := append(append([]http.HandlerFunc{}, bad...), good)
		if !trusted {
			turns = append([]http.HandlerFunc{good}, turns...)
		}
		s := answers(t, turns...)
		c, waits := client(t, s.URL, Policy{})
		var out struct{ A int }
		get := func() error {
			out.A = 0
			_, err := c.JSON(context.Background(), Request{URL: s.URL + "/p?q"}, 1000, &out)
			return err
		}
		if trusted {
			c.Trust()
		} else if err := get(); err != nil {
			t.Fatal(err)
		}
		if err := get(); err != nil || out.A != 1 || len(*waits) != len(bad) {
			t.Errorf("%s: %+v, %v, %d waits", name, out, err, len(*waits))
		}
	}
	s := answers(t, good, page)
	c, _ := client(t, s.URL, Policy{First: time.Minute, Longest: time.Minute, Patience: time.Second})
	if _, err := get(c, s.URL); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.JSONBytes(context.Background(), Request{URL: s.URL + "/p?q"}, 1000)
	if fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), "web page") || strings.Count(err.Error(), "/p") != 1 {
		t.Errorf("pages for ever: %v", err)
	}
}

// TestRedirectsProveNothing: a network with a login redirects everything.
func TestRedirectsProveNothing(t *testing.T) {
	s := answers(t, status(302, "Location", "/login"), text("<html>"))
	c, _ := client(t, s.URL, Policy{})
	if err := c.Do(context.Background(), Request{URL: s.URL, Stay: true}, func(*http.Response) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if host := c.Endpoint.Host; c.Believed(host) {
		t.Errorf("%s is believed for a redirect", host)
	}
}

// TestClosedConnection: what a person reads when a server hangs up.
func TestClosedConnection(t *testing.T) {
	s := answers(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	c, _ := client(t, s.URL, Policy{})
	_, err := get(c, s.URL)
	if fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), "was closed before") || !strings.Contains(err.Error(), "HF_ENDPOINT") {
		t.Errorf("%v", err)
	}
}

func TestTries(t *testing.T) {
	c, waits := client(t, "http://127.0.0.1:1", Policy{First: time.Second, Longest: 4 * time.Second, Patience: 30 * time.Second})
	tries := c.Tries()
	failed := func(n int) (err error) {
		for range n {
			err = tries.Failed(context.Background(), "http://h/p", errors.New("nothing"))
		}
		return err
	}
	if err := failed(3); err != nil || len(*waits) != 0 {
		t.Fatalf("%v, waits of %v", err, *waits)
	}
	if err := failed(4); err != nil || len(*waits) != 4 || (*waits)[0] > 2*time.Second || (*waits)[3] < 4*time.Second {
		t.Fatalf("%v, waits of %v", err, *waits)
	}
	tries.Progress()
	if err := failed(3); err != nil || len(*waits) != 4 {
		t.Fatalf("after progress: %v, waits of %v", err, *waits)
	}
	tries.since = tries.since.Add(-time.Minute) // as if the waits had been
	if err := failed(1); fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), "GET http://h/p: nothing, after 4 tries in 1m") {
		t.Errorf("%v", err)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Tries().Failed(stopped, "", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAsked(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		status int
		header [2]string
		want   time.Duration
		ok     bool
	}{
		{429, [2]string{"RateLimit", `"api";r=0;t=137`}, 138 * time.Second, true},
		{429, [2]string{"RateLimit", `"pages";r=3;t=9, "api";t=20;r=0`}, 21 * time.Second, true},
		{429, [2]string{"RateLimit", `"api";r=5;t=137`}, 0, false},
		{503, [2]string{"RateLimit", `"api";r=0;t=137`}, 0, false},
		{429, [2]string{"RateLimit", `"api";r=0`}, 0, false},
		{503, [2]string{"Retry-After", "20"}, 21 * time.Second, true},
		{503, [2]string{"Retry-After", now.Add(time.Minute).Format(http.TimeFormat)}, 61 * time.Second, true},
		{503, [2]string{"Retry-After", now.Add(-time.Minute).Format(http.TimeFormat)}, time.Second, true},
		{503, [2]string{"Retry-After", "-5"}, 0, false},
		{503, [2]string{"Retry-After", "99999999999999999999"}, 0, false},
	} {
		h := http.Header{}
		h.Set(tt.header[0], tt.header[1])
		if got, ok := Asked(tt.status, h, now); got != tt.want || ok != tt.ok {
			t.Errorf("%d %v: %v, %v", tt.status, tt.header, got, ok)
		}
	}
}

func TestFromEnvironment(t *testing.T) {
	home := t.TempDir()
	s, err := FromEnvironment(func(name string) string {
		return map[string]string{
			"HF_ENDPOINT": "http://127.0.0.1:8080/", "HF_TOKEN": " hf_a\r\n", "HF_HUB_OFFLINE": "true", "HF_HOME": home,
		}[name]
	})
	want := Settings{Endpoint: "http://127.0.0.1:8080", Token: "hf_a", Offline: true, Home: home, Cache: filepath.Join(home, "hub")}
	if err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = FromEnvironment(func(string) string { return "" }); err != nil || s.Endpoint != DefaultEndpoint || s.Offline {
		t.Errorf("%+v, %v", s, err)
	}
	for _, token := range []string{"hf_a\x1b[0m", "hf_\tb", "hf_c\x7f"} {
		_, err := FromEnvironment(func(name string) string { return map[string]string{"HF_TOKEN": token}[name] })
		if fault.KindOf(err) != fault.Config || strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", token, err)
		}
		if _, err := New(Options{Token: token}); fault.KindOf(err) != fault.Config {
			t.Errorf("a client with %q: %v", token, err)
		}
	}
	for _, bad := range []string{"huggingface.co", "ftp://x", "https://", "https://u:p@x", "https://x?y"} {
		_, err := FromEnvironment(func(name string) string { return map[string]string{"HF_ENDPOINT": bad}[name] })
		if fault.KindOf(err) != fault.Config || !strings.Contains(fmt.Sprint(err), "HF_ENDPOINT") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestRefusalSays reads what servers say about a refusal, in every shape.
func TestRefusalSays(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"no\u001b[0m way"}`: "no [0m way", `{"error":["a","b"]}`: "a; b", `{"errors":[{},{"message":"c"}]}`: "c",
		`{"error":null,"error_description":"d"}`: "d", `{"message":"e"}`: "e", `{"error":{"code":1}}`: "map[code:1]",
		"<Error/>": "with a web page", "nonsense": "", `["error"]`: "", "": "",
		`{"error":"` + strings.Repeat("é", 300) + `"}`: strings.Repeat("é", 200) + "...",
	} {
		s := answers(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, body)
		})
		c, _ := client(t, s.URL, Policy{})
		_, err := get(c, s.URL)
		var e *Error
		if !errors.As(err, &e) || e.Message != want {
			t.Errorf("%.40s: %v", body, err)
		}
	}
}
