package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lockstep/hub"
	"lockstep/internal/merkle"
)

const (
	lfsType    = "application/vnd.git-lfs+json"
	maxObjects = 1000
	maxLFSBody = 4 << 20
)

// lfsObject is a large file by digest and size.
type lfsObject struct {
	OID     string      `json:"oid"`
	Size    int64       `json:"size"`
	Actions *lfsActions `json:"actions,omitempty"` // null would crash a client
	Error   *lfsError   `json:"error,omitempty"`
}

type lfsActions struct {
	Upload   *lfsAction `json:"upload,omitempty"`
	Verify   *lfsAction `json:"verify,omitempty"`
	Download *lfsAction `json:"download,omitempty"`
}

type lfsAction struct {
	Href    string            `json:"href"`
	Header  map[string]string `json:"header,omitempty"`
	Expires int               `json:"expires_in,omitempty"`
}

type lfsError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// lfsBatch is POST info/lfs/objects/batch.
func (c *call) lfsBatch() {
	var q struct {
		Operation string
		Objects   []lfsObject
		Algorithm string `json:"hash_algo"`
	}
	if !readJSON(c.w, c.r, maxLFSBody, &q) {
		return
	}
	switch {
	case q.Operation == "upload" && !c.mayWrite():
		return
	case q.Operation != "upload" && q.Operation != "download":
		fail(c.w, c.r, http.StatusUnprocessableEntity, "", "the operation %q is unknown", clip(q.Operation))
		return
	case q.Algorithm != "" && q.Algorithm != "sha256" && q.Algorithm != "sha_256":
		fail(c.w, c.r, http.StatusConflict, "", "hash_algo %q is unknown; use sha256", clip(q.Algorithm))
		return
	case len(q.Objects) > maxObjects:
		fail(c.w, c.r, http.StatusRequestEntityTooLarge, "", "%d objects, at most %d are answered at once", len(q.Objects), maxObjects)
		return
	}
	transfer := "basic"
	for i, o := range q.Objects {
		q.Objects[i] = c.lfsObject(q.Operation, o)
		if a := q.Objects[i].Actions; a != nil && a.Upload != nil && a.Upload.Header != nil {
			transfer = "multipart"
		}
	}
	body, _ := json.Marshal(map[string]any{"transfer": transfer, "objects": q.Objects, "hash_algo": "sha256"})
	c.w.Header().Set("Content-Type", lfsType)
	_, _ = c.w.Write(body)
}

// lfsObject says what is to be done about one object. Its errors stay its own.
func (c *call) lfsObject(operation string, o lfsObject) lfsObject {
	out := lfsObject{OID: o.OID, Size: o.Size}
	sum, err := merkle.ParseDigest(o.OID)
	if err != nil || o.Size < 0 || o.Size > c.options.MaxObject {
		out.Error = &lfsError{http.StatusUnprocessableEntity, fmt.Sprintf("oid must be a SHA-256 in hex and size at most %d", c.options.MaxObject)}
		return out
	}
	have, stored := c.repo.Stored(sum)
	if operation == "upload" { // it is not sent again, so that it must be there for the commit
		if have, stored, err = c.repo.Renew(c.r.Context(), sum); err != nil {
			out.Error = &lfsError{statusOf(err), headerText(c.message(err))}
			return out
		}
	}
	switch {
	case stored && have != o.Size:
		out.Error = &lfsError{http.StatusUnprocessableEntity, fmt.Sprintf("this object has %d bytes, not %d", have, o.Size)}
	case operation == "download" && !stored:
		out.Error = &lfsError{http.StatusNotFound, "no such object"}
	case operation == "download":
		out.Actions = &lfsActions{Download: &lfsAction{Href: c.signed("get", o)}}
	case !stored:
		out.Actions = &lfsActions{
			Upload: c.uploadAction(o),
			Verify: &lfsAction{Href: c.origin() + "/" + c.repo.prefix() + c.repo.id() + ".git/info/lfs/verify"},
		}
	}
	return out
}

// uploadAction is one address for a file, or one for each part of a large one
// and a last one that puts them together.
func (c *call) uploadAction(o lfsObject) *lfsAction {
	seconds := int(uploadTime / time.Second)
	if o.Size <= c.options.MultipartFrom {
		return &lfsAction{Href: c.signed("put", o), Expires: seconds}
	}
	header := map[string]string{"chunk_size": strconv.FormatInt(c.options.PartSize, 10)}
	for n := int64(1); n <= parts(o.Size, c.options.PartSize); n++ {
		header[fmt.Sprintf("%05d", n)] = c.signed("part", o, "size", header["chunk_size"], "number", strconv.FormatInt(n, 10))
	}
	return &lfsAction{Href: c.signed("complete", o, "size", header["chunk_size"]), Header: header, Expires: seconds}
}

// signed is an address that needs no token: /lfs/VERB/KIND/OWNER/NAME/OID/SIZE
// with the parameters that the signature covers.
func (c *call) signed(verb string, o lfsObject, parameters ...string) string {
	path := fmt.Sprintf("/lfs/%s/%s/%s/%s/%d", verb, c.repo.kind, c.repo.id(), o.OID, o.Size)
	q := url.Values{}
	for i := 0; i < len(parameters); i += 2 {
		q.Set(parameters[i], parameters[i+1])
	}
	expires, signature := c.signer.sign(path+"?"+q.Encode(), time.Now())
	q.Set("expires", expires)
	q.Set("signature", signature)
	return c.origin() + path + "?" + q.Encode()
}

// signature returns the parameters of a signed address but for the signature; ok
// says that it is ours and still good.
func (s *Server) signature(u *url.URL) (parameters url.Values, ok bool) {
	q := u.Query()
	expires, signature := q.Get("expires"), q.Get("signature")
	q.Del("expires")
	q.Del("signature")
	return q, s.signer.check(u.EscapedPath()+"?"+q.Encode(), expires, signature, time.Now())
}

// uploads reports whether a request is an upload at an address that this server
// gave to somebody with a token.
func (s *Server) uploads(r *http.Request) bool {
	verb, ok := strings.CutPrefix(r.URL.EscapedPath(), "/lfs/")
	verb, _, _ = strings.Cut(verb, "/")
	if !ok || verb != "put" && verb != "part" && verb != "complete" {
		return false
	}
	_, ok = s.signature(r.URL)
	return ok
}

// lfs answers at signed addresses.
func (c *call) lfs(path []string) {
	q, ok := c.signature(c.r.URL)
	if len(path) != 6 || !ok {
		fail(c.w, c.r, http.StatusForbidden, "", "this address is not signed by this server, or no longer good; ask for a new one")
		return
	}
	c.known = true // whoever holds the address was allowed to have it
	sum, err := merkle.ParseDigest(path[4])
	size, serr := strconv.ParseInt(path[5], 10, 64)
	if err != nil || serr != nil || !c.findRepo(repoName{path[1], path[2], path[3]}) {
		return // signed by us, so these are well-formed
	}
	o := hub.FileInfo{Path: path[4], Size: size, SHA256: sum}
	switch path[0] + " " + c.r.Method {
	case "put PUT":
		c.lfsPut(o)
	case "part PUT":
		c.lfsPart(o, q)
	case "complete POST":
		c.lfsComplete(o, q)
	case "get GET", "get HEAD":
		c.sendStored(o, "")
	default:
		c.notFound()
	}
}

// lfsPut stores a file; size and digest are checked on the way.
func (c *call) lfsPut(o hub.FileInfo) {
	if c.r.ContentLength >= 0 && c.r.ContentLength != o.Size {
		fail(c.w, c.r, http.StatusBadRequest, "", "%d bytes were announced, %d are sent", o.Size, c.r.ContentLength)
		return
	}
	if !c.store(o, c.r.Body) {
		return
	}
	c.w.Header().Set("ETag", quote(o.SHA256.String()))
	c.w.WriteHeader(http.StatusOK)
}

// store writes an object from a reader that must have exactly its bytes.
func (c *call) store(o hub.FileInfo, from io.Reader) bool {
	read := false
	_, err := c.repo.Store(c.r.Context(), hub.Content{Path: "the object", Size: o.Size, SHA256: o.SHA256, Write: func(w io.Writer) error {
		if read {
			return io.ErrUnexpectedEOF
		}
		read = true
		_, err := io.Copy(w, from)
		return err
	}})
	if err != nil {
		c.failWith(c.w, c.r, err)
		return false
	}
	c.repo.trust(o.SHA256)
	return true
}

// lfsVerify is POST info/lfs/verify: is the object here, with this size?
func (c *call) lfsVerify() {
	var q lfsObject
	if !readJSON(c.w, c.r, maxSmallBody, &q) {
		return
	}
	sum, err := merkle.ParseDigest(q.OID)
	if err == nil {
		if size, ok := c.repo.Stored(sum); ok && size == q.Size {
			writeJSON(c.w, map[string]any{"oid": q.OID, "size": q.Size})
			return
		}
	}
	fail(c.w, c.r, http.StatusNotFound, "", "no object %s with %d bytes is here", clip(q.OID), q.Size)
}

func quote(s string) string { return `"` + s + `"` }
