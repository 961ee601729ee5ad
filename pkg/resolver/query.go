// Package resolver answers the DNS queries of containers on 127.0.0.11 within their own namespaces: names of their networks from
// records (package names), everything else by the servers of the host or of the container. It needs CAP_SYS_ADMIN and
// CAP_NET_ADMIN, runs in the host's namespaces, and binds nothing there.
package resolver

import (
	"context"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/names"
)

// Query is one question and who asks it.
type Query struct {
	// Msg has exactly one question.
	Msg *dns.Msg
	// Space is the namespace it came from.
	Space names.Space
}

// Question is the one question.
func (q Query) Question() dns.Question { return q.Msg.Question[0] }

// Handler answers a query, or lets another do it. A reply of nil means that the asker gets none.
type Handler interface {
	Answer(context.Context, Query) *dns.Msg
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(context.Context, Query) *dns.Msg

// Answer calls the function.
func (f HandlerFunc) Answer(ctx context.Context, q Query) *dns.Msg { return f(ctx, q) }

// reply begins the reply to a query.
func reply(q *dns.Msg, code int) *dns.Msg {
	r := new(dns.Msg)
	r.SetRcode(q, code)
	r.RecursionAvailable = true
	if opt := q.IsEdns0(); opt != nil {
		r.SetEdns0(maxUDP, opt.Do())
	}
	return r
}

// sizeFor is how long a reply may be over UDP: what the asker says, or else the 512 bytes of RFC 1035.
func sizeFor(q *dns.Msg) int {
	if opt := q.IsEdns0(); opt != nil {
		return max(dns.MinMsgSize, int(opt.UDPSize()))
	}
	return dns.MinMsgSize
}

// maxUDP is the longest message that is taken over UDP. Nothing between a container and us makes fragments.
const maxUDP = 4096

// screen checks what no handler has to. A reply is the answer to what is no question for them; with neither a reply nor a
// query the asker gets nothing.
func screen(wire []byte) (query *dns.Msg, answer *dns.Msg) {
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil {
		return nil, formatError(wire)
	}
	switch {
	case q.Response:
		return nil, nil // two servers must not answer each other
	case q.Opcode != dns.OpcodeQuery:
		return nil, reply(q, dns.RcodeNotImplemented)
	case len(q.Question) != 1:
		return nil, reply(q, dns.RcodeFormatError)
	}
	if opt := q.IsEdns0(); opt != nil && opt.Version() != 0 {
		r := reply(q, dns.RcodeBadVers) // RFC 6891, section 6.1.3
		return nil, r
	}
	return q, nil
}

// formatError answers what is no message beyond its header.
func formatError(wire []byte) *dns.Msg {
	const headerSize, response = 12, 0x80
	if len(wire) < headerSize || wire[2]&response != 0 {
		return nil
	}
	r := new(dns.Msg)
	r.Id = uint16(wire[0])<<8 | uint16(wire[1])
	r.Response, r.RecursionAvailable, r.Rcode = true, true, dns.RcodeFormatError
	return r
}
