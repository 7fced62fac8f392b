package client

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
)

func (h *theHub) preupload(w http.ResponseWriter, r *http.Request) {
	var q struct{ Files []struct{ Path string } }
	json.NewDecoder(r.Body).Decode(&q)
	var files []object
	for _, f := range q.Files {
		e := object{"path": f.Path, "uploadMode": "regular", "shouldIgnore": false}
		content, there := h.trees[h.main][f.Path]
		if there {
			e["oid"] = gitOf(content)
		}
		if isLarge(f.Path) {
			e["uploadMode"] = "lfs"
			if there {
				e["oid"] = etagOf(content)
			}
		}
		files = append(files, e)
	}
	sendJSON(w, http.StatusOK, object{"files": files})
}

// batch has small objects sent in one piece, others in parts of 4000 bytes.
func (h *theHub) batch(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Objects []struct {
			OID  string
			Size int
		}
	}
	json.NewDecoder(r.Body).Decode(&q)
	oid, size := q.Objects[0].OID, q.Objects[0].Size
	o := object{"oid": oid, "size": size, "authenticated": true}
	answer := object{"objects": []object{o}}
	verify := object{"href": h.api.URL + "/org/model.git/info/lfs/objects/verify", "header": object{"Authorization": "RemoteAuth not-for-this"}}
	switch _, there := h.stored[oid]; {
	case there: // no actions
	case size < 100:
		o["actions"] = object{"upload": object{"href": h.cdn.URL + "/put/" + oid + "?signature=1", "expires_in": 900}, "verify": verify}
	default:
		answer["transfer"] = "multipart"
		header := object{"chunk_size": "4000", "other": "x"}
		for i := range (size + 3999) / 4000 {
			header[fmt.Sprintf("%05d", i+1)] = fmt.Sprintf("%s/part/%s/%d?signature=1", h.cdn.URL, oid, i+1)
		}
		o["actions"] = object{"upload": object{"href": h.cdn.URL + "/complete/" + oid + "?signature=1", "header": header}, "verify": verify}
	}
	w.Header().Set("Content-Type", lfsType)
	json.NewEncoder(w).Encode(answer)
}

func (h *theHub) verify(w http.ResponseWriter, r *http.Request) {
	var q struct {
		OID  string
		Size int
	}
	json.NewDecoder(r.Body).Decode(&q)
	if content, ok := h.stored[q.OID]; !ok || len(content) != q.Size || r.Header.Get("Content-Type") != jsonType {
		fail(w, http.StatusNotFound, "", "no such object")
		return
	}
	h.verified = append(h.verified, q.OID)
}

func (h *theHub) commit(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if int64(len(body)) != r.ContentLength {
		h.t.Errorf("%d bytes of commit, %d announced", len(body), r.ContentLength)
	}
	if h.race {
		h.race = false
		h.add(maps.Clone(h.trees[h.main]))
	}
	tree := maps.Clone(h.trees[h.main])
	for line := range bytes.Lines(body) {
		var q struct {
			Key   string
			Value struct{ ParentCommit, Path, Content, OID string }
		}
		if err := json.Unmarshal(line, &q); err != nil {
			h.t.Error(err)
		}
		switch v := q.Value; q.Key {
		case "header":
			if v.ParentCommit != h.main {
				fail(w, http.StatusPreconditionFailed, "", "A commit has happened since. Please refresh and try again.")
				return
			}
		case "file":
			content, _ := base64.StdEncoding.DecodeString(v.Content)
			tree[v.Path] = string(content)
		case "lfsFile":
			content, ok := h.stored[v.OID]
			if !ok {
				h.t.Errorf("%s is committed and was never stored", v.Path)
			}
			tree[v.Path] = content
		default:
			h.t.Errorf("a line of kind %s", q.Key)
		}
	}
	h.commits = append(h.commits, string(body))
	h.add(tree)
	sendJSON(w, http.StatusOK, object{"success": true, "commitOid": h.main, "commitUrl": "https://huggingface.co/org/model/commit/" + h.main, "hookOutput": ""})
}

// add makes a commit with these files.
func (h *theHub) add(tree map[string]string) {
	h.main = fmt.Sprintf("%040x", len(h.trees)+1)
	h.trees[h.main] = tree
}

// storage is the host of large files: it wants signatures and no token.
func (h *theHub) storage(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Header.Get("Authorization") != "" {
		h.leaked = append(h.leaked, r.URL.Path)
	}
	body, _ := io.ReadAll(r.Body)
	verb, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	oid, _, _ := strings.Cut(rest, "/")
	switch {
	case r.URL.RawQuery != "signature=1":
		w.WriteHeader(http.StatusForbidden)
	case h.expired > 0:
		h.expired--
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
	case verb == "put":
		h.stored[oid] = string(body)
	case verb == "part":
		h.parts[rest] = string(body)
		w.Header().Set("ETag", `"etag of `+rest+`"`)
	case verb == "complete":
		h.parts["complete"] = string(body)
		for i := 1; h.parts[fmt.Sprintf("%s/%d", oid, i)] != ""; i++ {
			h.stored[oid] += h.parts[fmt.Sprintf("%s/%d", oid, i)]
		}
		io.WriteString(w, "{}")
	default:
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(h.stored[oid]))
	}
}
