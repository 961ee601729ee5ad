package kernel

import (
	"bytes"
	"errors"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Tables lists the tables of nftables, of all families. A kernel without nftables has none.
func (k *Kernel) Tables() (tables []nftables.Table, err error) {
	request := nftMessage(unix.NFT_MSG_GETTABLE, unix.NLM_F_DUMP, nftables.TableFamilyUnspecified, nil)
	err = k.listNetfilter(request, func(reply []byte) {
		name := bytes.TrimRight(attribute(reply[sizeofGenmsg:], unix.NFTA_TABLE_NAME), "\x00")
		tables = append(tables, nftables.Table{Family: nftables.TableFamily(reply[0]), Name: string(name)})
	})
	if err == nil {
		return tables, nil
	}
	if has, asked := k.HasNftables(); asked == nil && !has {
		return nil, nil
	}
	return nil, err
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
	name := appendAttribute(nil, unix.NFTA_TABLE_NAME, append([]byte(table.Name), 0))
	_, err := k.ask(nftRequest(unix.NFT_MSG_GETTABLE, 0, table.Family, name))
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}
