// Package client speaks to the Hugging Face Hub, or to any server with its
// protocol such as hub/server. A [Repo] is a [hub.Repository], so that what
// pushes to a folder pushes to the Hub.
//
// # Settings
//
// [FromEnvironment] reads the variables of the Python library: HF_ENDPOINT,
// HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and their older names.
//
// # Trust
//
// The token goes to the endpoint's host and to no other, whatever an answer
// points to. What is read is compared with the digest that the repository names
// it by, SHA-256 or git's, before it is used or shown in the cache. One case is
// left: where the cache holds copies instead of links and the Hub cannot be
// asked, no digest is known, and the copy is taken as the Python library does.
//
// # Failure
//
// Requests that may be repeated are, within a limit, with growing pauses and at
// the server's word (Retry-After, RateLimit). The limit counts tries, unlike that
// of httpx.Client, whose readers outlast an outage of minutes: what is repeated
// here is mostly several requests, as an upload with new addresses, and who
// pushes has a plan for longer outages. Which answers are worth another try, and
// how an error reads, is httpx's for both. A commit is not repeated blindly:
// after a lost answer the branch is looked at first. What remains is a
// *httpx.Error or another error with its fault.Kind: Network where waiting may
// help, Refused where it will not.
//
// # Cache
//
// The cache is that of the Python library, folder for folder: blobs by digest,
// refs, snapshots of links, locks. Both may use it at once. Without the Hub a
// snapshot is what the cache has of it.
package client
