package kernel

import (
	"bytes"

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
