package attach

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairway-cni/fairway/pkg/names"
	"github.com/fairway-cni/fairway/pkg/netconf"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/naming"
)

// askedNames is what a call says about names. The key names of a network asks for them; it is the same in each mode.
type askedNames struct {
	wanted         bool
	names, aliases []string
	host, internal bool
	servers        []netip.Addr
	// answered is set when a resolver answers in the container.
	answered bool
}

// resolverAddr is where a container asks.
const resolverAddr = "127.0.0.11"

// readNames reads what a network with names and the runtime say about them.
func (c *call) readNames() error {
	n := &c.names
	switch string(c.conf.Names) {
	case "", "null", "false":
		return nil
	case "true":
	default:
		var key struct {
			Host     bool `json:"host"`
			Internal bool `json:"internal"`
		}
		if err := json.Unmarshal(c.conf.Names, &key); err != nil {
			return Invalidf("key names: %w: give true, or an object with host and internal, each true or false", err)
		}
		n.host, n.internal = key.Host, key.Internal
	}
	var internal bool
	if err := netconf.DecodeAt("internal", c.conf.Internal, &internal); err != nil {
		return err
	}
	var asked struct {
		Aliases json.RawMessage `json:"aliases"`
		DNS     struct {
			Servers []string `json:"servers"`
		} `json:"dns"`
	}
	if err := netconf.DecodeAt("runtimeConfig", c.conf.RuntimeConfig, &asked); err != nil {
		return err
	}
	n.wanted, n.internal = true, n.internal || internal
	n.names = ownNames(c.env)
	servers := asked.DNS.Servers
	if len(servers) == 0 {
		servers = c.dns.Nameservers
	}
	n.servers = addrsOf(servers)
	var err error
	n.aliases, err = aliasesOf(asked.Aliases, c.conf.Name, c.env)
	return err
}

// ownNames are what a runtime calls a container: podman and CRI by the first key of CNI_ARGS, nerdctl by the last. A name that DNS
// cannot carry is left out, as nobody chose it for that.
func ownNames(env Env) (own []string) {
	pod, namespace := env.Arg("K8S_POD_NAME"), env.Arg("K8S_POD_NAMESPACE")
	candidates := []string{pod, env.Arg("NERDCTL_CNI_DHCP_HOSTNAME")}
	if pod != "" && namespace != "" {
		candidates = append(candidates, pod+"."+namespace)
	}
	for _, name := range candidates {
		if name == "" || slices.Contains(own, name) {
			continue
		}
		if err := names.CheckName(name); err != nil {
			slog.Warn("container has a name that cannot be looked up", "error", err)
			continue
		}
		own = append(own, name)
	}
	return own
}

// aliasesOf reads the capability: a list, and from podman one by network. A network without the capability gets them by CNI_ARGS.
func aliasesOf(capability json.RawMessage, network string, env Env) (aliases []string, err error) {
	var byNetwork map[string][]string
	switch {
	case len(capability) == 0:
	case json.Unmarshal(capability, &aliases) == nil:
	case json.Unmarshal(capability, &byNetwork) == nil:
		aliases = byNetwork[network]
	default:
		return nil, Invalidf("runtimeConfig.aliases: give a list of names")
	}
	if text := env.Arg("FAIRWAY_ALIASES"); text != "" {
		aliases = append(aliases, strings.Split(text, ",")...)
	}
	for _, alias := range aliases {
		if err := names.CheckName(alias); err != nil {
			return nil, Invalidf("alias is %w", err)
		}
	}
	return aliases, nil
}

// addrsOf leaves out what is no address: a server may be given by a name elsewhere, and not here. That the resolver is its own
// server is known from an earlier result.
func addrsOf(texts []string) (all []netip.Addr) {
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil && text != resolverAddr {
			all = append(all, addr)
		}
	}
	return all
}

// record declares the names of the attachment, if the network asks for them.
func (c *call) record(owner state.Owner, lease Lease) state.Set {
	n := &c.names
	if !n.wanted {
		return nil
	}
	r := naming.Record{
		Owner: owner, Names: n.names, Aliases: n.aliases, Internal: n.internal, Servers: n.servers, Answered: &n.answered,
	}
	if len(r.Servers) == 0 {
		r.Servers = addrsOf(lease.DNS.Nameservers)
	}
	for _, ip := range lease.IPs {
		r.Addresses = append(r.Addresses, ip.Prefix.Addr())
		if n.host && ip.Gateway.IsValid() {
			r.Host = append(r.Host, ip.Gateway)
		}
	}
	return state.Set{r}
}

// forgetRecord declares a record by its owner alone: the network may have asked for names before.
func forgetRecord(owner state.Owner) state.Set { return state.Set{naming.Record{Owner: owner}} }

// pointAtResolver makes a result's DNS lead to the resolver, once that answers. A name without dots is looked up as it is, as by
// Docker.
func (n askedNames) pointAtResolver(dns *types.DNS) {
	if !n.answered {
		return
	}
	dns.Nameservers = []string{resolverAddr}
	if !slices.ContainsFunc(dns.Options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		dns.Options = append(slices.Clone(dns.Options), "ndots:0")
	}
}
