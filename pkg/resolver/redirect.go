package resolver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// redirect is the nftables of the namespace that the calling thread is in:
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
type redirect struct{ conn *nftables.Conn }

// tableName is of a table that is ours alone.
const tableName = "fairway-names"

func openRedirect() (redirect, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return redirect{}, fmt.Errorf("nfnetlink socket: %w", err)
	}
	return redirect{conn}, nil
}

func (r redirect) close() { _ = r.conn.CloseLasting() } // nothing is buffered in the socket

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
}

func chain() *nftables.Chain {
	return &nftables.Chain{
		Name: "output", Table: table(), Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	}
}

// found is the rules that are there.
type found struct {
	// to is the port to which all of them lead; 0: some are missing or changed.
	to uint16
	// absent: there is no table, and so no need to remove one.
	absent bool
}

func (r redirect) find() (f found, err error) {
	tables, err := r.conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return f, fmt.Errorf("nft list tables ip: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }) {
		return found{absent: true}, nil
	}
	rules, err := r.conn.GetRules(table(), chain())
	if err != nil && !errors.Is(err, unix.ENOENT) { // without the chain
		return f, fmt.Errorf("nft list table ip %s: %w", tableName, err)
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
	return found{to: ports[0]}, nil
}

// write puts the rules in place of what was found, in one transaction. A deletion costs a grace period of RCU.
func (r redirect) write(to uint16, over found) error {
	t := r.conn.AddTable(table()) // for the deletion to find one
	if !over.absent {
		r.conn.DelTable(t)
		r.conn.AddTable(t)
	}
	c := r.conn.AddChain(chain())
	for _, protocol := range protocols {
		r.conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: expressions(protocol, to)})
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nft add table ip %s: %w", tableName, err)
	}
	return nil
}

func (r redirect) remove() error {
	r.conn.DelTable(r.conn.AddTable(table()))
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("nft delete table ip %s: %w", tableName, err)
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
	address := self.As4()
	return []expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: daddrOffset, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: address[:]},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{protocol}},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: dportOffset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{0, port}},
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
