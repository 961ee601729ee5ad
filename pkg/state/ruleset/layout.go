package ruleset

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
)

// version is a hash of all rules and sets, which TestVersion computes. Each rule carries it, with its place in the chain:
// rules that are lost, replaced or of another release are told by one listing of comments, which ADD can afford.
const version = "f42447fa"

// layout is the part of a table that objects share: sets and the chains that look into them. Its rules do not grow with
// the number of containers.
type layout struct {
	table  *nftables.Table
	sets   []*nftables.Set
	typeof []kernel.TypeofSet
	chains []chain
}

type chain struct {
	*nftables.Chain
	rules []rule
}

// rule is what a rule does, and why, for who reads `nft list ruleset`.
type rule struct {
	why   string
	exprs []expr.Any
}

func (c chain) comment(i int) string {
	return nftable.Comment(version, i, len(c.rules), c.rules[i].why)
}

// allStanding says whether all of some chains have their rules.
func allStanding(k *kernel.Kernel, table *nftables.Table, chains []string) (bool, error) {
	for _, name := range chains {
		if ok, err := nftable.Standing(k, table, name, version); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// verifyChains says which chains have not their rules.
func verifyChains(k *kernel.Kernel, table *nftables.Table, chains []string) error {
	var errs []error
	for _, name := range chains {
		switch ok, err := nftable.Standing(k, table, name, version); {
		case err != nil:
			errs = append(errs, fmt.Errorf("nft list chain %s %s: %w", nftable.TableName(table), name, nftable.Unsupported(err)))
		case !ok:
			errs = append(errs, state.Driftf("chain %s of nftables table %s has not the rules of this version (%s)", name, nftable.TableName(table), version))
		}
	}
	return errors.Join(errs...)
}

// build adds what is missing of a layout and writes its rules afresh, in one transaction: no packet sees a chain without
// rules. What earlier releases had there goes. Whoever flushes the ruleset meanwhile is outlived.
func build(k *kernel.Kernel, l layout) error {
	return nftable.Again(func() error { return buildOnce(k, l) })
}

func buildOnce(k *kernel.Kernel, l layout) error {
	conn, err := k.Nftables()
	if err != nil {
		return err
	}
	old, err := chainsOf(conn, l.table)
	if err != nil {
		return nftable.Unsupported(err)
	}
	if len(old) > 0 {
		if l, err = l.withoutSets(conn); err != nil {
			return err
		}
		l = l.renewing(old)
	}
	if err := k.AddTypeofSets(l.table, l.typeof); err != nil {
		return nftable.Unsupported(err)
	}
	if len(old) > 0 && l.table.Family == nftables.TableFamilyINet {
		if err := migrate(k, conn, l); err != nil {
			return err
		}
	}
	err = l.write(conn, nil)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EOPNOTSUPP) && len(old) > 0 {
		err = l.write(conn, old) // a chain of the name that has another hook or priority
	}
	if err != nil {
		return nftable.Unsupported(err)
	}
	return removeOld(conn, l.table, old)
}

// with is the layout with one more chain.
func (l layout) with(c chain) layout {
	l.chains = append(slices.Clone(l.chains), c)
	return l
}

// renewing is the layout with the chain of other networks that is there: its rules are of this version with the rest.
func (l layout) renewing(old []*nftables.Chain) layout {
	renewed := masqueradeChain()
	there := func(c *nftables.Chain) bool { return c.Name == renewed.Name } // they are of this table
	if l.table.Family == renewed.Table.Family && slices.ContainsFunc(old, there) && !l.has(renewed.Chain) {
		return l.with(renewed)
	}
	return l
}

// withoutSets is the layout without the sets that are there. One that nft made, from a listing that was saved, differs in what
// only the kernel sees, and cannot be added again.
func (l layout) withoutSets(conn *nftables.Conn) (layout, error) {
	there, err := conn.GetSets(l.table)
	if err != nil {
		return l, fmt.Errorf("nft list sets %s: %w", nftable.TableName(l.table), err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(there, func(s *nftables.Set) bool { return s.Name == name })
	}
	l.sets = slices.DeleteFunc(slices.Clone(l.sets), func(s *nftables.Set) bool { return has(s.Name) })
	l.typeof = slices.DeleteFunc(slices.Clone(l.typeof), func(s kernel.TypeofSet) bool { return has(s.Name) })
	return l, nil
}

// write writes the layout, in place of those of its chains that are among the old ones.
func (l layout) write(conn *nftables.Conn, old []*nftables.Chain) error {
	replaced := slices.DeleteFunc(slices.Clone(old), func(c *nftables.Chain) bool { return !l.has(c) })
	for _, c := range replaced {
		conn.FlushChain(c) // none refers to another any more
	}
	for _, c := range replaced {
		conn.DelChain(c)
	}
	conn.AddTable(l.table)
	var errs []error
	for _, s := range l.sets {
		errs = append(errs, conn.AddSet(s, nil))
	}
	for _, c := range l.chains {
		conn.AddChain(c.Chain)
	}
	for _, c := range l.chains {
		conn.FlushChain(c.Chain)
		for i, r := range c.rules {
			conn.AddRule(&nftables.Rule{
				Table: l.table, Chain: c.Chain, Exprs: r.exprs,
				UserData: userdata.AppendString(nil, userdata.TypeComment, c.comment(i)),
			})
		}
	}
	return errors.Join(append(errs, conn.Flush())...)
}

func (l layout) has(c *nftables.Chain) bool {
	return slices.ContainsFunc(l.chains, func(own chain) bool { return own.Name == c.Name })
}

// What earlier releases had. An administrator's own chains and sets in the table stay.
var (
	oldChains = []string{"overlay_forward"}
	oldSets   = []string{"masquerade4", "masquerade6", "vxlan", "vxlan_peers4", "vxlan_peers6"}
)

// removeOld removes the chains and sets of earlier releases: the former would filter besides.
func removeOld(conn *nftables.Conn, table *nftables.Table, old []*nftables.Chain) error {
	if len(old) == 0 {
		return nil
	}
	for _, c := range old {
		if !slices.Contains(oldChains, c.Name) {
			continue
		}
		conn.FlushChain(c)
		conn.DelChain(c)
		if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("nft delete chain %s %s: %w", nftable.TableName(table), c.Name, err)
		}
	}
	for _, name := range oldSets {
		conn.DelSet(&nftables.Set{Table: table, Name: name})
		// An administrator's rule may use it.
		if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("nft delete set %s %s: %w", nftable.TableName(table), name, err)
		}
	}
	return nil
}

// chainsOf lists the chains of a table. One that does not exist has none.
func chainsOf(conn *nftables.Conn, table *nftables.Table) ([]*nftables.Chain, error) {
	all, err := conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return nil, fmt.Errorf("nft list chains: %w", err)
	}
	return slices.DeleteFunc(all, func(c *nftables.Chain) bool { return c.Table.Name != table.Name }), nil
}
