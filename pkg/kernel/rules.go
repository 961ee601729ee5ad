package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// EachRuleComment calls each with the comment of every rule of a chain, in their order; one without is empty. A comment is
// good until each returns. A chain or table that does not exist has no rules. The error is ErrInterrupted when rules may be
// missing.
//
// The nftables library decodes what a rule does as well, which takes twenty times as long, and each ADD asks.
func (k *Kernel) EachRuleComment(table *nftables.Table, chain string, each func(comment []byte)) error {
	encoder := netlink.NewAttributeEncoder()
	encoder.String(unix.NFTA_RULE_TABLE, table.Name)
	encoder.String(unix.NFTA_RULE_CHAIN, chain)
	attributes, err := encoder.Encode()
	if err != nil {
		return err
	}
	request := nftMessage(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, table.Family, attributes)
	err = k.listNetfilter(request, func(reply []byte) {
		var comment []byte
		eachAttribute(reply[sizeofGenmsg:], func(kind uint16, value []byte) {
			if kind == unix.NFTA_RULE_USERDATA {
				comment = commentIn(value)
			}
		})
		each(comment)
	})
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// commentIn is the comment in the user data of a rule: a list of type, length and value. It may be anybody's.
func commentIn(data []byte) []byte {
	for len(data) >= 2 && len(data) >= 2+int(data[1]) {
		value := data[2 : 2+int(data[1])]
		if data[0] == byte(userdata.TypeComment) {
			return bytes.TrimRight(value, "\x00")
		}
		data = data[2+len(value):]
	}
	return nil
}

// EachRule calls each with the handle and the expressions of every rule of a chain, in their order; expressions are good until each returns.
// A chain that does not exist has no rules.
func (k *Kernel) EachRule(chain *nftables.Chain, each func(handle uint64, expressions []byte) error) error {
	encoder := netlink.NewAttributeEncoder()
	encoder.String(unix.NFTA_RULE_TABLE, chain.Table.Name)
	encoder.String(unix.NFTA_RULE_CHAIN, chain.Name)
	attributes, err := encoder.Encode()
	if err != nil {
		return err
	}
	rules, err := k.ask(nftRequest(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, chain.Table.Family, attributes))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("nft list chain %s %s: %w", chain.Table.Name, chain.Name, err)
	}
	for _, rule := range rules {
		var handle uint64
		if value := attribute(rule[sizeofGenmsg:], unix.NFTA_RULE_HANDLE); len(value) == 8 {
			handle = binary.BigEndian.Uint64(value)
		}
		if err := each(handle, attribute(rule[sizeofGenmsg:], unix.NFTA_RULE_EXPRESSIONS)); err != nil {
			return err
		}
	}
	return nil
}
