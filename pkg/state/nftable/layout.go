// Package nftable is an nftables table of fairway's own: sets and chains that do not grow with the number of containers, and
// elements that carry their owner as comment. It needs CAP_NET_ADMIN in the host's namespace.
package nftable

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Layout is a table without its elements.
type Layout struct {
	Table *nftables.Table
	// Version is part of each rule's comment. It changes with any rule or set, so that those of another release are found.
	Version string
	Sets    []*nftables.Set
	Chains  []Chain
	// User is the name of a chain that is made and never changed: the administrator's. Empty: none.
	User string
}

// Chain is a chain with its rules.
type Chain struct {
	*nftables.Chain
	Rules []Rule
}

// Rule is what a rule does, and why, for who reads `nft list ruleset`.
type Rule struct {
	Why   string
	Exprs []expr.Any
}

// Ensure builds the layout unless it stands.
func (l Layout) Ensure(k *kernel.Kernel) error {
	switch err := l.Verify(k); {
	case errors.Is(err, state.ErrDrift):
		return l.build(k)
	default:
		return err
	}
}

// build adds what is missing and writes the rules afresh, in one transaction: no packet sees a chain without rules.
func (l Layout) build(k *kernel.Kernel) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	var errs []error
	conn.AddTable(l.Table)
	for _, s := range l.Sets {
		errs = append(errs, conn.AddSet(s, nil))
	}
	if l.User != "" {
		conn.AddChain(&nftables.Chain{Table: l.Table, Name: l.User})
	}
	for _, c := range l.Chains {
		conn.AddChain(c.Chain)
	}
	for _, c := range l.Chains {
		conn.FlushChain(c.Chain)
		for i, r := range c.Rules {
			conn.AddRule(&nftables.Rule{
				Table: l.Table, Chain: c.Chain, Exprs: r.Exprs,
				UserData: userdata.AppendString(nil, userdata.TypeComment, Comment(l.Version, i, len(c.Rules), r.Why)),
			})
		}
	}
	if err := errors.Join(append(errs, conn.Flush())...); err != nil {
		return fmt.Errorf("nft table inet %s: %w", l.Table.Name, Unsupported(err))
	}
	return nil
}

// Verify says which chains have not the rules of this version.
func (l Layout) Verify(k *kernel.Kernel) error {
	var errs []error
	for _, c := range l.Chains {
		switch ok, err := Standing(k, l.Table, c.Name, l.Version); {
		case err != nil:
			return fmt.Errorf("nft list chain inet %s %s: %w", l.Table.Name, c.Name, Unsupported(err))
		case !ok:
			errs = append(errs, state.Driftf("chain %s of nftables table inet %s has not the rules of this version", c.Name, l.Table.Name))
		}
	}
	return errors.Join(errs...)
}

// Ready says whether nftables can be used, by listing its tables.
func Ready(k *kernel.Kernel) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	if _, err := conn.ListTablesOfFamily(nftables.TableFamilyINet); err != nil {
		return fmt.Errorf("nftables cannot be used (nft list tables inet): %w", Unsupported(err))
	}
	return nil
}

// Unsupported names the feature when the kernel lacks it.
func Unsupported(err error) error {
	if errors.Is(err, state.ErrUnsupported) {
		return err // it does so already
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		return fmt.Errorf("nftables (CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_FIB_INET) is %w: %w", state.ErrUnsupported, err)
	}
	return err
}

// Without says whether a listing failed because the kernel has no nftables, and so nothing to list. EINVAL, which is the
// answer then (nfnetlink_rcv_msg), may also say that the listing was asked for wrongly.
func Without(k *kernel.Kernel, err error) bool {
	if !errors.Is(err, unix.EINVAL) {
		return errors.Is(Unsupported(err), state.ErrUnsupported)
	}
	has, err := k.HasNftables()
	return err == nil && !has
}

// TableName is a table as nft names it, with its family.
func TableName(t *nftables.Table) string {
	switch t.Family {
	case nftables.TableFamilyBridge:
		return "bridge " + t.Name
	case nftables.TableFamilyIPv4:
		return "ip " + t.Name
	case nftables.TableFamilyIPv6:
		return "ip6 " + t.Name
	}
	return "inet " + t.Name
}
