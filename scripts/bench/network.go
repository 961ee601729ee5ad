package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// network is the conflist of a case, as an administrator would have written it for the suite.
func (s suite) network(c Case, data string) (*libcni.NetworkConfigList, error) {
	plugin := strings.NewReplacer("$DATA", data, "$LOOPBACK", s.loopback, "$PEERS", peersFile(data)).Replace(c.Plugin)
	conflist := fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "plugins": [%s]}`, networkName, plugin)
	return libcni.NetworkConfFromBytes([]byte(conflist))
}

// reserve writes what upstream's host-local would have left after n containers, each with one address: both suites take it
// for real.
func reserve(folder string, n int) error {
	if n == 0 {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	address := netip.MustParsePrefix(v4).Addr().Next() // the gateway
	for i := range n {
		address = address.Next()
		owner := fmt.Sprintf("reserved-%d\r\neth0", i)
		if err := os.WriteFile(filepath.Join(folder, address.String()), []byte(owner), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(folder, "last_reserved_ip.0"), []byte(address.String()), 0o600)
}
