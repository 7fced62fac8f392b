// Package transport carries the messages of package reduce over TCP and drives
// its machines in real time. If you only want to check documents, use
// reduce/commit.
//
// From the bottom up:
//
//	Endpoint   one TCP port: TLS 1.3 with pinned ed25519 certificates; ALPN "h2"
//	           goes to an http.Server, ALPN "lockstep/bulk/1" to the round
//	Transport  what a Driver needs of an Endpoint; Pipes is one in memory
//	frame      40 bytes of header, two checksums, an exact length
//	conn       a bulk connection at work; says now and then that it is there, and
//	           gives up a peer that does not
//	mesh       one bulk connection for each pair of peers, dialled by the lower
//	           peer ID, redialled when it breaks
//	Journal    records of a machine, durable before anything is sent
//	Averages   averages of the last epochs, for this node and for others
//	Driver     feeds machines with messages and time, carries out their actions
//
// A reader never stops reading: what a peer may send is bounded by the credits
// that the machines grant, so nothing ever waits for a queue to drain; a peer
// whose backlog grows beyond that loses its connection. Every length is checked
// before memory is taken for it; what does not fit closes the connection, not the
// node.
package transport
