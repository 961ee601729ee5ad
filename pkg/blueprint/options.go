package blueprint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// form is how the value of a key is written in a netconf.
type form int

const (
	text form = iota
	boolean
	number
	document // any JSON
)

// A dialect is the options that a driver understands.
type dialect struct {
	driver string
	// docker gives the key of the netconf for Docker's name of an option.
	docker map[string]string
	// keys are the plugin's own. Nil: any; the plugin is somebody else's.
	keys map[string]form
	// others are understood as well, and stand for no key by themselves: they are read elsewhere.
	others []string
}

// optionEncrypted is Docker's for an overlay. By itself it means true.
const optionEncrypted = "encrypted"

const dockerMTU = "com.docker.network.driver.mtu"

var bridgeDialect = dialect{
	driver: "bridge",
	docker: map[string]string{
		"com.docker.network.bridge.name":                 "bridge",
		"com.docker.network.bridge.enable_ip_masquerade": "ipMasq",
		"com.docker.network.bridge.enable_icc":           "icc",
		"com.docker.network.bridge.host_binding_ipv4":    "hostIP",
		dockerMTU:                "mtu",
		"com.docker.network.mtu": "mtu",
	},
	keys: map[string]form{
		"bridge": text, "isGateway": boolean, "isDefaultGateway": boolean, "forceAddress": boolean, "ipMasq": boolean,
		"ipMasqBackend": text, "mtu": number, "hairpinMode": boolean, "promiscMode": boolean, "vlan": number, "vlanTrunk": document,
		"preserveDefaultVlan": boolean, "macspoofchk": boolean, "enabledad": boolean, "portIsolation": boolean,
		"internal": boolean, "icc": boolean, "isolated": boolean, "disableContainerInterface": boolean, "dns": document,
		"hostIP": text, "publishFrom": document, "routed": boolean,
	},
	others: append(slices.Collect(maps.Keys(gatewayModes)), optionNames, optionHost),
}

var macvlanDialect = dialect{
	driver: "macvlan",
	docker: map[string]string{"parent": "master", "macvlan_mode": "mode", dockerMTU: "mtu"},
	keys: map[string]form{
		"master": text, "mode": text, "mtu": number, "linkInContainer": boolean, "bcqueuelen": number,
		"mac": text, "hostAccess": boolean, "enabledad": boolean, "dns": document,
	},
	others: []string{optionNames},
}

var overlayDialect = dialect{
	driver: "overlay",
	docker: map[string]string{
		dockerMTU: "mtu", "vxlanid_list": "vni", "com.docker.network.driver.overlay.vxlanid_list": "vni",
	},
	keys: map[string]form{
		"vni": number, "mtu": number, "port": number, "ipMasq": boolean, "isolated": boolean, "peers": text,
		"pins": document, "peersFile": text, "self": text, "dns": document, "hostIP": text, "publishFrom": document,
		optionEncrypted: boolean, "privateKeyFile": text, "wireguardPort": number,
	},
	others: []string{optionNames, optionHost},
}

// dialects are those of Docker's drivers.
var dialects = []dialect{bridgeDialect, macvlanDialect, overlayDialect}

// foreign is the dialect of another CNI plugin: its keys are anything, and values are typed by their looks.
func foreign(driver string) dialect {
	d := dialect{driver: driver, docker: map[string]string{dockerMTU: "mtu"}}
	if driver == "ipvlan" {
		d.docker["parent"], d.docker["ipvlan_mode"] = "master", "mode"
	}
	return d
}

// reserved are keys that have a flag of their own, or that are the library's.
var reserved = []string{"type", "name", "cniVersion", "plugins", "prevResult", "runtimeConfig", "ipam", "capabilities"}

// translate gives the netconf's keys for the options of an order.
func (d dialect) translate(options map[string]string) (map[string]any, error) {
	keys, from := map[string]any{}, map[string]string{}
	for _, option := range slices.Sorted(maps.Keys(options)) {
		if slices.Contains(d.others, option) {
			continue // whoever calls reads them
		}
		key, err := d.key(option)
		if err != nil {
			return nil, err
		}
		if other, twice := from[key]; twice {
			return nil, fmt.Errorf("options %s and %s mean the same: give one", other, option)
		}
		from[key] = option
		if keys[key], err = d.value(key, options[option]); err != nil {
			return nil, fmt.Errorf("option %s: %w", option, err)
		}
	}
	return keys, nil
}

// refused are Docker's options of bridges that are not honoured, with what to do instead.
var refused = map[string]string{
	"com.docker.network.bridge.inhibit_ipv4":            "give isGateway=false for a bridge without an address of the host's",
	"com.docker.network.container_iface_prefix":         "a CNI runtime names interfaces: give --ifname to connect, or ifname to run --network",
	"com.docker.network.bridge.trusted_host_interfaces": "give publishFrom to limit who reaches published ports",
	"com.docker.network.host_ipv4":                      "containers are masqueraded with the address of the link that they leave by: give ipMasq=false, and a rule of your own",
	"com.docker.network.host_ipv6":                      "containers are masqueraded with the address of the link that they leave by: give ipMasq=false, and a rule of your own",
	"com.docker.network.bridge.default_bridge":          "the default network is the predefined bridge: see fairway install",
	"com.docker.network.enable_ipv4":                    "give --ipv4=false for a network without",
	"com.docker.network.enable_ipv6":                    "give --ipv6 for a network with it",
}

func (d dialect) key(option string) (string, error) {
	if _, ok := d.keys[option]; option == optionEncrypted && !ok {
		return "", fmt.Errorf("option encrypted: networks of driver %s are not encrypted, and one that pretends to be is worse than none: leave the option out", d.driver)
	}
	if key, ok := d.docker[option]; ok {
		return key, nil
	}
	if why, ok := refused[option]; ok {
		return "", fmt.Errorf("option %s: %s", option, why)
	}
	if d.keys == nil && !strings.HasPrefix(option, "com.docker.") && !slices.Contains(reserved, option) {
		return option, nil
	}
	if _, ok := d.keys[option]; ok {
		return option, nil
	}
	if slices.Contains(reserved, option) {
		return "", fmt.Errorf("option %s cannot be given: the key is written by fairway itself", option)
	}
	if near := d.near(option); near != "" {
		return "", fmt.Errorf("driver %s cannot honour the option %s: do you mean %s?", d.driver, option, near)
	}
	return "", fmt.Errorf("driver %s cannot honour the option %s: leave it out, or use one that 'fairway create --help' names or the plugin has", d.driver, option)
}

// near is an option that differs by the words before its last one, by capitals or by the signs between words alone. Empty: there is none.
func (d dialect) near(option string) string {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s[strings.LastIndexByte(s, '.')+1:]))
	}
	options := d.options()
	if i := slices.IndexFunc(options, func(other string) bool { return plain(other) == plain(option) }); i >= 0 {
		return options[i]
	}
	return ""
}

// has says whether the option is one that the driver understands.
func (d dialect) has(option string) bool {
	return slices.Contains(d.others, option) || d.docker[option] != "" || slices.Contains(slices.Collect(maps.Keys(d.keys)), option)
}

// options are all that can be named, sorted.
func (d dialect) options() []string {
	all := slices.Concat(slices.Collect(maps.Keys(d.docker)), slices.Collect(maps.Keys(d.keys)), d.others)
	slices.Sort(all)
	return all
}

// Options are the names of the options that a driver understands, for proposals. Those of other plugins are not known.
func Options(driver string) []string {
	for _, d := range dialects {
		if d.driver == driver {
			return d.options()
		}
	}
	return foreign(driver).options()
}

func (d dialect) value(key, value string) (any, error) {
	if d.keys == nil {
		return byLooks(value), nil
	}
	switch d.keys[key] {
	case boolean:
		if key == optionEncrypted && value == "" {
			return true, nil // as Docker has it
		}
		b, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", value)
		}
		return b, nil
	case number:
		n, err := strconv.Atoi(value)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", value)
		}
		return n, nil
	case document:
		if !json.Valid([]byte(value)) {
			return nil, fmt.Errorf("%q is not JSON", value)
		}
		return json.RawMessage(value), nil
	}
	return value, nil
}

// byLooks takes true, false, numbers, objects, lists and quoted strings for what they are in JSON, and anything else for
// a string.
func byLooks(value string) any {
	if json.Valid([]byte(value)) {
		return json.RawMessage(value)
	}
	return value
}
