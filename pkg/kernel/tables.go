package kernel

import (
	"errors"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TablesOf is those of some tables of nftables that there are. They are asked for one by one, in one datagram: a listing would be
// interrupted on a busy host. A kernel without nftables has none.
func (k *Kernel) TablesOf(wanted []nftables.Table) (found []nftables.Table, err error) {
	requests := make([]Message, 0, len(wanted))
	for _, t := range wanted {
		encoder := netlink.NewAttributeEncoder()
		encoder.String(unix.NFTA_TABLE_NAME, t.Name)
		attributes, err := encoder.Encode()
		if err != nil {
			return nil, err
		}
		requests = append(requests, messageOf(nftRequest(unix.NFT_MSG_GETTABLE, 0, t.Family, attributes)))
	}
	s, err := k.protocol(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	all, err := s.ask(requests)
	if err != nil {
		return nil, err
	}
	for i, a := range all {
		switch {
		case a.err == nil:
			found = append(found, wanted[i])
		case errors.Is(a.err, unix.EINVAL):
			if has, err := k.HasNftables(); err != nil || !has {
				return nil, err
			}
			return nil, a.err
		case !errors.Is(a.err, unix.ENOENT) && !errors.Is(a.err, unix.EAFNOSUPPORT):
			return nil, a.err
		}
	}
	return found, nil
}

// HasChain says whether the host has a chain in a table.
func (k *Kernel) HasChain(chain *nftables.Chain) (bool, error) {
	names := appendAttribute(nil, unix.NFTA_CHAIN_TABLE, append([]byte(chain.Table.Name), 0))
	names = appendAttribute(names, unix.NFTA_CHAIN_NAME, append([]byte(chain.Name), 0))
	_, err := k.ask(nftRequest(unix.NFT_MSG_GETCHAIN, 0, chain.Table.Family, names))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// HasTable says whether the host has a table.
func (k *Kernel) HasTable(table *nftables.Table) (bool, error) {
	found, err := k.TablesOf([]nftables.Table{*table})
	return len(found) > 0, err
}
