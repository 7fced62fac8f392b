package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lockstep/hub"
	"lockstep/hub/server"
	"lockstep/internal/fault"
)

// TestErrorsKeepSignatures: whatever goes wrong with a signed address, its query
// is not shown.
func TestErrorsKeepSignatures(t *testing.T) {
	const secret = "X-Amz-Signature=SECRET"
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, address := range map[string]string{
		"no connection": gone.URL + "/put?" + secret,
		"no address":    "http://[::1/put?" + secret,
		"refused":       "/refused?" + secret,
		"circles":       "/circles?" + secret,
		"no JSON":       "/nonsense?" + secret,
		"a page":        "/page?" + secret,
		"a strange way": "/ftp?" + secret,
		"offline":       "/offline?" + secret,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/refused":
				w.WriteHeader(http.StatusForbidden)
			case "/circles":
				http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
			case "/ftp":
				http.Redirect(w, r, "ftp://example/x?"+secret, http.StatusTemporaryRedirect)
			case "/page":
				fmt.Fprint(w, "<html>")
			default:
				fmt.Fprint(w, "nonsense")
			}
		}))
		k, err := New(Config{Endpoint: s.URL, Backoff: patient(nil), Offline: name == "offline"})
		if err != nil {
			t.Fatal(err)
		}
		var into struct{}
		if err := k.postJSON(ctx, address, jsonType, into, &into); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}

// TestWrongCertificate: what will not pass is not tried again.
func TestWrongCertificate(t *testing.T) {
	w := newWorld(t, server.Options{})
	l := &line{}
	l.fault = func(*http.Request, int) *mishap {
		return &mishap{err: &tls.CertificateVerificationError{Err: errors.New("expired in 1999")}}
	}
	w.client.http.Transport = l
	if _, err := w.Tags(ctx); fault.KindOf(err) != fault.Network || !strings.Contains(err.Error(), "expired in 1999") || len(l.sent) != 1 {
		t.Errorf("%d requests, %v", len(l.sent), err)
	}
}

func TestUnusableToken(t *testing.T) {
	if _, err := New(Config{Token: "hf_\x1b[0m"}); fault.KindOf(err) != fault.Config {
		t.Error(err)
	}
}

// TestEndpointWithAPath lists a repository in pages, of a Hub that is not at the
// root of its host.
func TestEndpointWithAPath(t *testing.T) {
	for name, prefix := range map[string]string{"the server knows its path": "/hf", "it does not": ""} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path, ok := strings.CutPrefix(r.URL.Path, "/hf")
			if !ok || path != "/api/models/a/b/tree/main" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			name := "two"
			if r.URL.Query().Get("cursor") == "" {
				name = "one"
				w.Header().Set("Link", "<http://"+r.Host+prefix+`/api/models/a/b/tree/main?cursor=2>; rel="next"`)
			}
			fmt.Fprintf(w, `[{"type":"file","path":%q,"oid":%q,"size":1}]`, name, gitOf("x"))
		}))
		defer s.Close()
		k, err := New(Config{Endpoint: s.URL + "/hf/", Backoff: hub.Backoff{Attempts: 1, Sleep: hub.Sleep}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := k.Repo(Model, "a/b")
		if err != nil {
			t.Fatal(err)
		}
		if files, err := r.List(ctx, "main"); err != nil || len(files) != 2 {
			t.Errorf("%s: %v, %v", name, files, err)
		}
	}
}

// TestNothingOfTypeHTML: where no body is wanted, an empty one may have any type;
// a page is no answer even there.
func TestNothingOfTypeHTML(t *testing.T) {
	for page, kind := range map[string]fault.Kind{"": fault.None, "<html>log in</html>": fault.Network} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, page)
		}))
		k, err := New(Config{Endpoint: s.URL, Backoff: patient(nil)})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.postJSON(ctx, "/verify", jsonType, struct{}{}, nil); fault.KindOf(err) != kind {
			t.Errorf("%q: %v", page, err)
		}
		var into struct{}
		if err := k.postJSON(ctx, "/commit", jsonType, struct{}{}, &into); fault.KindOf(err) != fault.Network {
			t.Errorf("%q where JSON is wanted: %v", page, err)
		}
		s.Close()
	}
}
