package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RuleEvent is a loss in an nftables table of fairway.
type RuleEvent struct {
	// Tags are the comments of elements that were deleted. Nil: something else was, or events were missed.
	Tags []string
	// Table and Chain are where rules were deleted: the chain may have others by now. An empty chain: something else was deleted.
	Table *nftables.Table
	Chain string
}

// RuleMonitor hears of what changes in the nftables of the host.
type RuleMonitor struct{ ChangeMonitor }

// MonitorRules begins to listen, in the namespace of the caller's thread.
func MonitorRules() (*RuleMonitor, error) {
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err != nil {
		return nil, fmt.Errorf("nft monitor: %w", err)
	}
	return &RuleMonitor{ChangeMonitor{socket}}, nil
}

// Run calls f when something is deleted from tables whose names begin with a prefix, or events were missed, until the context
// ends, and closes the monitor. What this process deletes is among it only when own says so.
func (r *RuleMonitor) Run(ctx context.Context, prefix string, own bool, f func(RuleEvent)) error {
	defer r.socket.Close()
	if err := r.wakeUp(); err != nil {
		return err
	}
	var lost []RuleEvent // by a transaction whose end is not told yet
	for ctx.Err() == nil {
		messages, _, err := r.socket.Receive()
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			lost = tell(lost, f)
			continue
		case errors.Is(err, unix.ENOBUFS):
			f(RuleEvent{})
			lost = nil
			continue
		case err != nil:
			return fmt.Errorf("nft monitor: %w", err)
		}
		for _, m := range messages {
			if e, ok := ruleEvent(m.Header.Type, m.Data, prefix); ok {
				lost = append(lost, e)
			}
			switch ends, ours := endOfTransaction(m.Header.Type, m.Data); {
			case ours && !own:
				lost = nil
			case ends:
				lost = tell(lost, f)
			}
		}
	}
	return ctx.Err()
}

// tell gives events to f, and leaves none.
func tell(events []RuleEvent, f func(RuleEvent)) []RuleEvent {
	for _, e := range events {
		f(e)
	}
	return nil
}

// endOfTransaction says whether a message ends what one transaction has changed, and whether this process has made it. The kernel names the
// thread. Where it counts threads otherwise than this process, in another PID namespace, none is this process's.
func endOfTransaction(kind uint16, data []byte) (ends, ours bool) {
	if kind != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN || len(data) < sizeofGenmsg {
		return false, false
	}
	thread := attribute(data[sizeofGenmsg:], unix.NFTA_GEN_PROC_PID)
	if len(thread) != 4 {
		return true, false
	}
	_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", binary.BigEndian.Uint32(thread)))
	return true, err == nil
}

// ruleEvent reads a message; ok is false for one that is about nothing lost, or another table. In all of them the first
// attribute is the table's name.
func ruleEvent(kind uint16, data []byte, prefix string) (e RuleEvent, ok bool) {
	if len(data) < sizeofGenmsg {
		return e, false
	}
	attributes := data[sizeofGenmsg:]
	if !bytes.HasPrefix(attribute(attributes, unix.NFTA_TABLE_NAME), []byte(prefix)) {
		return e, false
	}
	switch kind &^ (unix.NFNL_SUBSYS_NFTABLES << 8) {
	case unix.NFT_MSG_DELRULE:
		e.Table = &nftables.Table{Name: name(attributes, unix.NFTA_RULE_TABLE), Family: nftables.TableFamily(data[0])}
		e.Chain = name(attributes, unix.NFTA_RULE_CHAIN)
		return e, true
	case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELSET:
		return e, true
	case unix.NFT_MSG_DELSETELEM:
		eachAttribute(attribute(attributes, unix.NFTA_SET_ELEM_LIST_ELEMENTS), func(_ uint16, element []byte) {
			comment := userdata.Get(attribute(element, unix.NFTA_SET_ELEM_USERDATA), userdata.NFTNL_UDATA_SET_ELEM_COMMENT)
			e.Tags = append(e.Tags, strings.TrimRight(string(comment), "\x00"))
		})
		return e, len(e.Tags) > 0
	}
	return e, false
}

// name is an attribute that is a text, which ends with a NUL.
func name(attributes []byte, kind int) string {
	return string(bytes.TrimRight(attribute(attributes, kind), "\x00"))
}
