package kernel

import (
	"bytes"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Drops says whether a chain has a hook of IPv4 or IPv6, such as that of what is forwarded, and drops what none of its rules accepts: by
// policy, as Docker's and ufw's, or by a last rule that has no condition, as firewalld's.
func (k *Kernel) Drops(chain *nftables.Chain, hook *nftables.ChainHook) (bool, error) {
	switch chain.Table.Family {
	case nftables.TableFamilyINet, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6:
	default:
		return false, nil
	}
	if chain.Hooknum == nil || *chain.Hooknum != *hook {
		return false, nil
	}
	if chain.Policy != nil && *chain.Policy == nftables.ChainPolicyDrop {
		return true, nil
	}
	return k.endsInDrop(chain)
}

// endsInDrop says whether the last rule of a chain drops or rejects whatever reaches it. The rules are somebody else's: the
// nftables library leaves out expressions that it does not know, by which a rule would seem to have no condition.
func (k *Kernel) endsInDrop(chain *nftables.Chain) (bool, error) {
	var last []byte
	err := k.EachRule(chain, func(_ uint64, expressions []byte) error {
		last = expressions
		return nil
	})
	if err != nil || last == nil {
		return false, err // gone meanwhile, or empty
	}
	return dropsAll(last)
}

// dropsAll says whether the expressions of a rule hold no condition, and drop or reject.
func dropsAll(expressions []byte) (drops bool, err error) {
	list, err := netlink.NewAttributeDecoder(expressions)
	if err != nil {
		return false, err
	}
	for list.Next() {
		expression := list.Bytes()
		switch name := string(bytes.TrimSuffix(attribute(expression, unix.NFTA_EXPR_NAME), []byte{0})); {
		case name == "counter", name == "log":
		case name == "reject", name == "immediate" && isDrop(attribute(expression, unix.NFTA_EXPR_DATA)):
			drops = true
		default:
			return false, nil // a condition, or another verdict
		}
	}
	return drops, list.Err()
}

// isDrop says whether an immediate value is the verdict to drop (NF_DROP, linux/netfilter.h, is 0).
func isDrop(immediate []byte) bool {
	verdict := attribute(attribute(immediate, unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT)
	return bytes.Equal(attribute(verdict, unix.NFTA_VERDICT_CODE), make([]byte, 4))
}
