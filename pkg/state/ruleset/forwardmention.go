package ruleset

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// Mentions gives a function that says whether a rule of the chain's table names a link, as the rule of an administrator does
// who has allowed it. What that rule does is not looked at.
func (d ForwardDrop) Mentions(k *kernel.Kernel) (func(link string) bool, error) {
	conn, err := k.Nftables()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("nft list chains: %w", err)
	}
	var names []linkMatch
	for _, c := range chains {
		if nftable.TableName(c.Table) != d.Table {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			continue // the chain went meanwhile
		}
		for _, r := range rules {
			names = append(names, namedLinks(r)...)
		}
	}
	return func(link string) bool {
		for _, n := range names {
			if n.matches(link) {
				return true
			}
		}
		return false
	}, nil
}

// linkMatch is a link's name in a rule, or how it begins ("br-*").
type linkMatch struct {
	name   string
	prefix bool
}

func (m linkMatch) matches(link string) bool {
	return m.name == link || m.prefix && strings.HasPrefix(link, m.name)
}

// namedLinks are the names that a rule compares the link with by which a packet came or goes. A name without its NUL is how
// names begin.
func namedLinks(rule *nftables.Rule) []linkMatch {
	var names []linkMatch
	loaded := false
	for _, e := range rule.Exprs {
		switch e := e.(type) {
		case *expr.Meta:
			loaded = e.Key == expr.MetaKeyIIFNAME || e.Key == expr.MetaKeyOIFNAME
		case *expr.Cmp:
			if loaded && e.Op == expr.CmpOpEq {
				name, _, whole := bytes.Cut(e.Data, []byte{0})
				names = append(names, linkMatch{string(name), !whole && len(name) > 0})
			}
			loaded = false
		}
	}
	return names
}
