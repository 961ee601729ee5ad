// Package nameport is where a container asks for names: two sockets within its network namespace, and the redirect of
// 127.0.0.11:53 to them. A plugin opens the port and hands it over to the resolver, so that a query waits in it and is not refused;
// a resolver that starts opens it again. All functions work in the namespace that the calling thread is in.
package nameport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Redirect is the nftables of the namespace that the calling thread is in:
//
//	table ip fairway-names {
//		chain output {
//			type nat hook output priority dstnat; policy accept;
//			ip daddr 127.0.0.11 udp dport 53 dnat to :PORT
//			ip daddr 127.0.0.11 tcp dport 53 dnat to :PORT
//		}
//	}
//
// The address is kept, as the sockets are bound to it; a server of the container's own on 0.0.0.0:53 keeps all others.
type Redirect struct{ conn *nftables.Conn }

// Table is the name of a table that is ours alone.
const Table = "fairway-names"

// Addr is where containers ask, on Port.
var Addr = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// Port is that of DNS.
const Port = 53

// OpenRedirect opens a socket to nftables.
func OpenRedirect() (Redirect, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return Redirect{}, fmt.Errorf("nfnetlink socket: %w", err)
	}
	return Redirect{conn}, nil
}

// Close closes the socket.
func (r Redirect) Close() { _ = r.conn.CloseLasting() } // nothing is buffered in the socket

func table() *nftables.Table {
	return &nftables.Table{Name: Table, Family: nftables.TableFamilyIPv4}
}

func chain() *nftables.Chain {
	return &nftables.Chain{
		Name: "output", Table: table(), Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	}
}

// Found is the rules that are there.
type Found struct {
	// To is the port to which all of them lead; 0: some are missing or changed.
	To uint16
	// Absent: there is no table, and so no need to remove one.
	Absent bool
}

// Find looks for the rules.
func (r Redirect) Find() (f Found, err error) {
	tables, err := r.conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return f, fmt.Errorf("nft list tables ip: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == Table }) {
		return Found{Absent: true}, nil
	}
	rules, err := r.conn.GetRules(table(), chain())
	if err != nil && !errors.Is(err, unix.ENOENT) { // without the chain
		return f, fmt.Errorf("nft list table ip %s: %w", Table, err)
	}
	if len(rules) != len(protocols) {
		return f, nil
	}
	var ports [len(protocols)]uint16
	for i, rule := range rules {
		to, ok := target(rule.Exprs)
		if !ok || !slices.EqualFunc(rule.Exprs, expressions(protocols[i], to), same) || to != ports[0] && i > 0 {
			return f, nil
		}
		ports[i] = to
	}
	return Found{To: ports[0]}, nil
}

// Write puts the rules in place of what was found, in one transaction. A deletion costs a grace period of RCU.
func (r Redirect) Write(to uint16, over Found) error {
	t := r.conn.AddTable(table()) // for the deletion to find one
	if !over.Absent {
		r.conn.DelTable(t)
		r.conn.AddTable(t)
	}
	c := r.conn.AddChain(chain())
	for _, protocol := range protocols {
		r.conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: expressions(protocol, to)})
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nft add table ip %s: %w", Table, err)
	}
	return nil
}

// Remove removes the rules. Absence is success.
func (r Redirect) Remove() error {
	r.conn.DelTable(r.conn.AddTable(table()))
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nft delete table ip %s: %w", Table, err)
	}
	return nil
}

// protocols in the order of their rules.
var protocols = [...]byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP}

// expressions of a rule: ip daddr 127.0.0.11 PROTOCOL dport 53 dnat to :TO.
func expressions(protocol byte, to uint16) []expr.Any {
	const (
		daddrOffset, dportOffset = 16, 2 // in the headers of IPv4, and of UDP and TCP
		register                 = 1
	)
	address := Addr.As4()
	return []expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: daddrOffset, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: address[:]},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{protocol}},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: dportOffset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{0, Port}},
		&expr.Immediate{Register: register, Data: binary.BigEndian.AppendUint16(nil, to)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegProtoMin: register, RegProtoMax: register, Specified: true},
	}
}

// target is the port that a rule of ours leads to.
func target(exprs []expr.Any) (uint16, bool) {
	const immediate = 6
	if len(exprs) <= immediate {
		return 0, false
	}
	value, ok := exprs[immediate].(*expr.Immediate)
	if !ok || len(value.Data) != 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(value.Data), true
}

// same compares what the kernel lists with what was written, by the bytes of the request.
func same(a, b expr.Any) bool {
	left, err1 := expr.Marshal(unix.NFPROTO_IPV4, a)
	right, err2 := expr.Marshal(unix.NFPROTO_IPV4, b)
	return err1 == nil && err2 == nil && slices.Equal(left, right)
}
