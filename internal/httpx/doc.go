// Package httpx is what the HTTP clients of this program have in common: when
// to try again and how long to wait, to whom a token may be sent, and what a
// person is told when a server cannot be reached, refuses, or answers nonsense.
// It knows the manners of the Hugging Face Hub (its quota headers, its error
// headers, its environment variables), but none of its routes.
//
//	FromEnvironment  HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and their kin
//	Client.Do        one request, tried until it is answered or given up
//	Client.JSON      the same for an answer in JSON, checked and capped
//	Client.Tries     patience with many requests that get nowhere together
//	Error            why there is no answer, with the fault's kind
package httpx
