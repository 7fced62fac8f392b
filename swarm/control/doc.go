// Package control is the control plane between nodes: who sits where, which
// epoch is certified, who claims what, and the pieces of state that a node
// catches up from. It speaks HTTP/2 on the node's one TLS port; bodies are
// canonical CBOR, vectors are raw bytes, and people who ask for JSON get it.
// It knows nothing of training and decides nothing: package swarm does.
//
// A caller is the ed25519 key of its TLS certificate, never what it says of
// itself. Every route states who may call it and how long its body may be, before
// anything is read or allocated; every caller has limits on connections, requests
// in flight, answers not taken yet and bytes per second, and one query at a time.
// Keys without a seat share what one key with a seat has. Both ends give up a
// transfer that takes more than 10 seconds and one for each 64 KiB.
//
// Documents that others may want to show to third parties are signed
// ([Registry], [Record], [State]); the rest is bound to the connection.
package control
