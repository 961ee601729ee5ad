package packetfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state/nftable"
	"github.com/fairway-cni/fairway/pkg/state/ruleset"
)

// Read reads the nftables of others: tables that fairway makes are left out, as what they drop is meant to be. A kernel without nftables has
// none.
func Read(k *kernel.Kernel) (*Filter, error) {
	f := &Filter{}
	if has, err := k.HasNftables(); err != nil || !has {
		return f, err
	}
	conn, err := k.Nftables()
	if err != nil {
		return nil, err
	}
	all, err := conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("nft list chains: %w", err)
	}
	tables := make(map[string]*table)
	for _, c := range all {
		if strings.HasPrefix(c.Table.Name, "fairway") {
			continue
		}
		name := nftable.TableName(c.Table)
		t := tables[name]
		if t == nil {
			if t, err = readTable(conn, c.Table); err != nil {
				return nil, err
			}
			tables[name] = t
		}
		own, err := readChain(k, t, c)
		if err != nil {
			return nil, err
		}
		t.chains[c.Name] = own
		if h, ok := hookOf(c); ok && c.Type != nftables.ChainTypeNAT {
			foreign := ruleset.Foreign(c, all)
			own.hook, own.order = h, int(*c.Priority)
			own.remedy = func(link string, subnet netip.Prefix) string {
				if t.families.bridge {
					return foreign.RemedyWithin(subnet)
				}
				return foreign.Remedy(link)
			}
			own.drops = c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
			f.bases = append(f.bases, own)
		}
	}
	f.bases = sorted(f.bases)
	return f, nil
}

func hookOf(c *nftables.Chain) (Hook, bool) {
	if c.Hooknum == nil || c.Priority == nil || c.Table.Family == nftables.TableFamilyNetdev || c.Table.Family == nftables.TableFamilyARP {
		return 0, false
	}
	hooks := map[nftables.ChainHook]Hook{
		*nftables.ChainHookPrerouting: Prerouting, *nftables.ChainHookInput: Input, *nftables.ChainHookForward: Forward,
		*nftables.ChainHookOutput: Output, *nftables.ChainHookPostrouting: Postrouting,
	}
	hook, ok := hooks[*c.Hooknum] // that of ingress has a number of the others'
	return hook, ok
}

// readTable reads a table with its sets.
func readTable(conn *nftables.Conn, of *nftables.Table) (*table, error) {
	t := &table{name: nftable.TableName(of), chains: map[string]*chain{}, sets: map[string]*set{}}
	switch of.Family {
	case nftables.TableFamilyINet:
		t.families = families{ip4: true, ip6: true}
	case nftables.TableFamilyIPv4:
		t.families = families{ip4: true}
	case nftables.TableFamilyIPv6:
		t.families = families{ip6: true}
	case nftables.TableFamilyBridge:
		t.families = families{bridge: true}
	}
	sets, err := conn.GetSets(of)
	if err != nil {
		return nil, fmt.Errorf("nft list sets %s: %w", t.name, err)
	}
	for _, s := range sets {
		elements, err := conn.GetSetElements(s)
		if errors.Is(err, unix.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("nft list set %s %s: %w", t.name, s.Name, err)
		}
		t.sets[s.Name] = newSet(s, elements)
	}
	return t, nil
}

// readChain reads the rules of a chain.
func readChain(k *kernel.Kernel, t *table, c *nftables.Chain) (*chain, error) {
	own := &chain{table: t, name: c.Name}
	return own, k.EachRule(c, func(handle uint64, expressions []byte) error {
		steps, err := stepsOf(byte(c.Table.Family), expressions)
		own.rules = append(own.rules, rule{handle: handle, steps: steps})
		return err
	})
}

// stepsOf decodes the expressions of a rule. The nftables library leaves out those that it does not know, by which a rule would seem to
// hold for more.
func stepsOf(family byte, expressions []byte) (steps []step, err error) {
	list, err := netlink.NewAttributeDecoder(expressions)
	if err != nil {
		return nil, err
	}
	for list.Next() {
		one, err := netlink.NewAttributeDecoder(list.Bytes())
		if err != nil {
			return nil, err
		}
		one.ByteOrder = binary.BigEndian
		name, data := "", []byte(nil)
		for one.Next() {
			switch one.Type() {
			case unix.NFTA_EXPR_NAME:
				name = one.String()
			case unix.NFTA_EXPR_DATA:
				data = one.Bytes()
			}
		}
		steps = append(steps, stepOf(name, decode(family, name, data)))
	}
	return steps, list.Err()
}

// decode gives an expression, or nil for one that is looked at by its name alone.
func decode(family byte, name string, data []byte) expr.Any {
	if name == "immediate" {
		value := &expr.Immediate{}
		if expr.Unmarshal(family, data, value) == nil && value.Register != unix.NFT_REG_VERDICT {
			return value
		}
	}
	makers := map[string]func() expr.Any{
		"meta": func() expr.Any { return &expr.Meta{} }, "payload": func() expr.Any { return &expr.Payload{} },
		"ct": func() expr.Any { return &expr.Ct{} }, "fib": func() expr.Any { return &expr.Fib{} },
		"immediate": func() expr.Any { return &expr.Verdict{} }, "bitwise": func() expr.Any { return &expr.Bitwise{} },
		"cmp":   func() expr.Any { return &expr.Cmp{} },
		"range": func() expr.Any { return &expr.Range{} }, "lookup": func() expr.Any { return &expr.Lookup{} },
		"match": func() expr.Any { return &expr.Match{} }, "target": func() expr.Any { return &expr.Target{} },
	}
	if name == "byteorder" {
		return byteorderOf(data)
	}
	maker, ok := makers[name]
	if !ok {
		return nil
	}
	e := maker()
	if expr.Unmarshal(family, data, e) != nil {
		return nil
	}
	return e
}

// byteorderOf decodes an expression that the library only encodes.
func byteorderOf(data []byte) expr.Any {
	e := &expr.Byteorder{}
	list, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil
	}
	list.ByteOrder = binary.BigEndian
	for list.Next() {
		switch list.Type() {
		case unix.NFTA_BYTEORDER_SREG:
			e.SourceRegister = list.Uint32()
		case unix.NFTA_BYTEORDER_DREG:
			e.DestRegister = list.Uint32()
		case unix.NFTA_BYTEORDER_LEN:
			e.Len = list.Uint32()
		case unix.NFTA_BYTEORDER_SIZE:
			e.Size = list.Uint32()
		}
	}
	return e
}
