package resolver

import (
	"context"

	"github.com/miekg/dns"

	"github.com/fairway-cni/fairway/pkg/names"
)

// internal keeps queries of namespaces that are on internal networks alone from leaving the host: a name in a query to a
// server outside would be a way out of them.
type internal struct {
	index *names.Index
	next  Handler
}

func (i internal) Answer(ctx context.Context, q Query) *dns.Msg {
	asker, ok := i.index.Asker(q.Space)
	switch {
	case !ok:
		return reply(q.Msg, dns.RcodeRefused) // its last record has just gone
	case asker.Internal:
		return reply(q.Msg, dns.RcodeNameError)
	}
	return i.next.Answer(ctx, q)
}
