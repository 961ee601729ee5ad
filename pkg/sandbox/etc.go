package sandbox

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attachment"
)

// Etc is the files of /etc that say who the container is, and whom it asks.
type Etc struct {
	// Hostname and its Domain. An empty domain: none.
	Hostname, Domain string
	// Names are further names of the container.
	Names []string
	// Hosts are further lines of /etc/hosts.
	Hosts []Host
	// Servers, Search and Options of /etc/resolv.conf. Empty: what the networks say, or else the host's.
	Servers         []netip.Addr
	Search, Options []string
	// Resolv is the host's /etc/resolv.conf.
	Resolv string
}

// Host is a line of /etc/hosts.
type Host struct {
	// Addr is the address. The zero value means the gateways of the first network that has any: the host, as containers reach it.
	Addr netip.Addr
	Name string
}

// Files are the texts by path.
func (e Etc) Files(attached []attachment.Attachment) map[string]string {
	return map[string]string{
		"/etc/hostname":    e.Hostname + "\n",
		"/etc/hosts":       e.hosts(attached),
		"/etc/resolv.conf": e.resolv(attached),
	}
}

// HostFiles are the texts of a command on the host's network: the host's own, with what was asked for.
func (e Etc) HostFiles(hosts string) map[string]string {
	var text strings.Builder
	text.WriteString(hosts)
	if hosts != "" && !strings.HasSuffix(hosts, "\n") {
		text.WriteByte('\n')
	}
	for _, h := range e.Hosts {
		if !h.Addr.IsValid() {
			h.Addr = netip.AddrFrom4([4]byte{127, 0, 0, 1}) // the host is here
		}
		fmt.Fprintf(&text, "%s\t%s\n", h.Addr, h.Name)
	}
	files := map[string]string{"/etc/hosts": text.String()}
	if len(e.Servers)+len(e.Search)+len(e.Options) > 0 {
		host := parseResolv(e.Resolv)
		files["/etc/resolv.conf"] = resolvText(first(texts(e.Servers), host.servers), first(e.Search, host.search), first(e.Options, host.options))
	}
	return files
}

// loopbackHosts are the lines that every container has, as Docker writes them.
const loopbackHosts = `127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::	ip6-localnet
ff00::	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
`

func (e Etc) hosts(attached []attachment.Attachment) string {
	var text strings.Builder
	text.WriteString(loopbackHosts)
	for _, h := range e.Hosts {
		addrs := []netip.Addr{h.Addr}
		if !h.Addr.IsValid() {
			addrs = gateways(attached)
		}
		for _, addr := range addrs {
			fmt.Fprintf(&text, "%s\t%s\n", addr, h.Name)
		}
	}
	own := []string{e.Hostname}
	if e.Domain != "" {
		own = []string{e.Hostname + "." + e.Domain, e.Hostname} // the name that is complete comes first (hosts(5))
	}
	names := strings.Join(unique(append(own, e.Names...)), " ")
	for _, a := range attached {
		for _, p := range a.Addresses {
			if !p.Addr().IsLoopback() {
				fmt.Fprintf(&text, "%s\t%s\n", p.Addr(), names)
			}
		}
	}
	return text.String()
}

// gateways are those of the first network that has any.
func gateways(attached []attachment.Attachment) []netip.Addr {
	for _, a := range attached {
		if len(a.Gateways) > 0 {
			return a.Gateways
		}
	}
	return nil
}

func (e Etc) resolv(attached []attachment.Attachment) string {
	host := parseResolv(e.Resolv)
	var servers, search, options []string
	for _, a := range attached {
		servers = append(servers, a.DNS.Nameservers...)
		if a.DNS.Domain != "" {
			search = append(search, a.DNS.Domain)
		}
		search = append(search, a.DNS.Search...)
		options = append(options, a.DNS.Options...)
	}
	own := texts(e.Servers)
	// A resolver of names asks the container's servers for all others, and libcs ask the first server alone.
	if slices.Contains(servers, resolver) {
		own, servers = nil, []string{resolver}
		if len(e.Options) > 0 && !slices.ContainsFunc(e.Options, isNdots) {
			options = append(slices.Clone(e.Options), options...)
			e.Options = nil
		}
	}
	return resolvText(first(own, servers, host.reachable()), first(e.Search, search, host.search), first(e.Options, options, host.options))
}

// resolvText writes a resolv.conf. Plugins may have answered anything.
func resolvText(servers, search, options []string) string {
	var text strings.Builder
	for _, server := range unique(servers) {
		if _, err := netip.ParseAddr(server); err == nil {
			fmt.Fprintf(&text, "nameserver %s\n", server)
		}
	}
	writeWords(&text, "search", search)
	writeWords(&text, "options", options)
	return text.String()
}

func texts(addrs []netip.Addr) (all []string) {
	for _, addr := range addrs {
		all = append(all, addr.String())
	}
	return all
}

// resolver is where networks with names have containers ask.
const resolver = "127.0.0.11"

func isNdots(option string) bool { return strings.HasPrefix(option, "ndots:") }

// writeWords writes one line, whatever the texts hold.
func writeWords(text *strings.Builder, key string, texts []string) {
	if words := strings.Fields(strings.Join(texts, " ")); len(words) > 0 {
		fmt.Fprintf(text, "%s %s\n", key, strings.Join(unique(words), " "))
	}
}

// resolvConf is what resolv.conf(5) says.
type resolvConf struct{ servers, search, options []string }

func parseResolv(text string) (conf resolvConf) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			conf.servers = append(conf.servers, words[1])
		case "search", "domain": // the last one counts
			conf.search = words[1:]
		case "options":
			conf.options = append(conf.options, words[1:]...)
		}
	}
	return conf
}

// reachable leaves out servers on the host's loopback, which is not the container's.
func (c resolvConf) reachable() (servers []string) {
	for _, server := range c.servers {
		if addr, err := netip.ParseAddr(server); err == nil && !addr.IsLoopback() {
			servers = append(servers, server)
		}
	}
	return servers
}

// HasServers says whether a resolv.conf names a server that a container can reach.
func HasServers(text string) bool { return len(parseResolv(text).reachable()) > 0 }

// first is the first list that is not empty.
func first(lists ...[]string) []string {
	for _, list := range lists {
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

// unique drops repetitions and empty words, and keeps the order.
func unique(words []string) (kept []string) {
	seen := map[string]bool{"": true}
	for _, word := range words {
		if !seen[word] {
			seen[word] = true
			kept = append(kept, word)
		}
	}
	return kept
}
