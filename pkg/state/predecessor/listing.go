package predecessor

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// listing is some tables, and what of them is to go in one transaction.
type listing struct {
	kernel *kernel.Kernel
	tables []nftables.Table

	goneRules  []*nftables.Rule
	goneChains []*nftables.Chain
	goneTables []*nftables.Table
}

// list finds those tables that there are. Where there are none, that has cost one request. Chains are asked for by their names: in the
// table nat of a node, kube-proxy has thousands.
func list(k *kernel.Kernel, wanted tables) (*listing, error) {
	there, err := k.TablesOf(wanted.all())
	if err != nil {
		return nil, fmt.Errorf("nft list table: %w", err)
	}
	return &listing{kernel: k, tables: there}, nil
}

// chain is a chain, or nil.
func (l *listing) chain(family nftables.TableFamily, table, name string) (*nftables.Chain, error) {
	if name == "" || !slices.ContainsFunc(l.tables, func(t nftables.Table) bool { return t.Family == family && t.Name == table }) {
		return nil, nil
	}
	c := &nftables.Chain{Table: &nftables.Table{Family: family, Name: table}, Name: name}
	has, err := l.kernel.HasChain(c)
	if err != nil {
		return nil, fmt.Errorf("nft list chain %s %s: %w", nftable.TableName(c.Table), name, err)
	}
	if !has {
		return nil, nil
	}
	return c, nil
}

// rules are those of a chain; none of one that does not exist.
func (l *listing) rules(family nftables.TableFamily, table, chain string) ([]*nftables.Rule, error) {
	c, err := l.chain(family, table, chain)
	if c == nil || err != nil {
		return nil, err
	}
	conn, err := l.kernel.Nftables()
	if err != nil {
		return nil, err
	}
	rules, err := conn.GetRules(c.Table, c)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("nft list chain %s %s: %w", nftable.TableName(c.Table), chain, err)
	}
	for _, r := range rules {
		r.Table, r.Chain = c.Table, c
	}
	return rules, nil
}

// dropRules lets those rules of a chain go that are stale, and says how many are left.
func (l *listing) dropRules(family nftables.TableFamily, table, chain string, stale func(*nftables.Rule) bool) (left int, err error) {
	rules, err := l.rules(family, table, chain)
	for _, r := range rules {
		if stale(r) {
			l.goneRules = append(l.goneRules, r)
		} else {
			left++
		}
	}
	return left, err
}

// dropChain lets a chain go, with the rules of others that lead to it.
func (l *listing) dropChain(family nftables.TableFamily, table, name string, from ...string) error {
	c, err := l.chain(family, table, name)
	if c == nil || err != nil {
		return err
	}
	l.goneChains = append(l.goneChains, c)
	for _, other := range from {
		if _, err := l.dropRules(family, table, other, func(r *nftables.Rule) bool { return target(r) == name }); err != nil {
			return err
		}
	}
	return nil
}

// dropTable lets a whole table go.
func (l *listing) dropTable(family nftables.TableFamily, name string) {
	l.goneTables = append(l.goneTables, &nftables.Table{Family: family, Name: name})
}

// goes says whether there is anything to do.
func (l *listing) goes() bool { return len(l.goneRules)+len(l.goneChains) > 0 }

// run deletes what is to go. The error wraps unix.ENOENT when some of it has gone meanwhile.
func (l *listing) run() error {
	if !l.goes() {
		return nil
	}
	conn, err := l.kernel.Nftables()
	if err != nil {
		return err
	}
	for _, r := range l.goneRules {
		if err := conn.DelRule(r); err != nil {
			return err
		}
	}
	for _, c := range l.goneChains {
		conn.FlushChain(c) // all of them first: they lead to each other
	}
	for _, c := range l.goneChains {
		conn.DelChain(c)
	}
	for _, t := range l.goneTables {
		conn.DelTable(t)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nft delete rule: %w", err)
	}
	return nil
}

// target is the chain that a rule leads to, or empty.
func target(r *nftables.Rule) string {
	for _, e := range r.Exprs {
		if v, ok := e.(*expr.Verdict); ok {
			return v.Chain
		}
	}
	return ""
}

// isAbout says whether packets have, or get, one of some addresses by a rule.
func isAbout(r *nftables.Rule, addrs []netip.Addr) bool {
	return hasValue(r, func(value []byte) bool {
		addr, ok := netip.AddrFromSlice(value)
		return ok && slices.Contains(addrs, addr)
	})
}

// isAboutLink says whether a rule is about a link. Those of iptables compare the name with its NUL, those of nft fill it up.
func isAboutLink(r *nftables.Rule, name string) bool {
	return hasValue(r, func(value []byte) bool { return string(bytes.TrimRight(value, "\x00")) == name })
}

func hasValue(r *nftables.Rule, is func(value []byte) bool) bool {
	return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
		switch e := e.(type) {
		case *expr.Cmp:
			return is(e.Data)
		case *expr.Immediate:
			return is(e.Data)
		}
		return false
	})
}

// comment is a rule's, as nft writes it.
func comment(r *nftables.Rule) string {
	return string(bytes.TrimRight(userdata.Get(r.UserData, userdata.TypeComment), "\x00"))
}

func commentBegins(prefix string) func(*nftables.Rule) bool {
	return func(r *nftables.Rule) bool { return strings.HasPrefix(comment(r), prefix) }
}
