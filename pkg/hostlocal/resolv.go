package hostlocal

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// resolvConfMax bounds what is read from ipam.resolvConf, which may name any file.
const resolvConfMax = 1 << 20

// DNS is the dns object of a result. The keys are those of CNI 1.1.0.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// dns reads the file that ipam.resolvConf names.
func (c Config) dns() (DNS, error) {
	if c.ResolvConf == "" {
		return DNS{}, nil
	}
	f, err := os.Open(c.ResolvConf)
	if err != nil {
		return DNS{}, fmt.Errorf("ipam.resolvConf is not readable, name a resolv.conf or leave it out: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, resolvConfMax))
	if err != nil {
		return DNS{}, fmt.Errorf("ipam.resolvConf is not readable, name a resolv.conf or leave it out: %w", err)
	}
	return parseResolvConf(string(text)), nil
}

// parseResolvConf reads resolv.conf(5). As in upstream, several search and
// options lines add up, and lines it does not know are passed over.
func parseResolvConf(text string) DNS {
	var d DNS
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0][0] == '#' || fields[0][0] == ';' {
			continue
		}
		switch fields[0] {
		case "nameserver":
			d.Nameservers = append(d.Nameservers, fields[1])
		case "domain":
			d.Domain = fields[1]
		case "search":
			d.Search = append(d.Search, fields[1:]...)
		case "options":
			d.Options = append(d.Options, fields[1:]...)
		}
	}
	return d
}
