package hostlocal

import (
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"

	"github.com/fairway-cni/fairway/pkg/golden"
)

// An input is what a parser of host-local's configuration reads.
type input struct{ stdin, args string }

// TestSameAnswersAsUpstream generates configurations, which upstream's parser and ours accept or refuse, and understand alike. Where
// they differ, a reason is given, and testdata/upstream.txt lists all of them.
func TestSameAnswersAsUpstream(t *testing.T) {
	counts, examples := map[string]int{}, map[string]string{}
	inputs := slices.Concat(rangeInputs(), keyInputs(), randomInputs(3000))
	for _, in := range inputs {
		theirs, theirErr := readByUpstream(in)
		ours, ourErr := readByUs(in)
		if (theirErr == nil) == (ourErr == nil) && (theirErr != nil || theirs == ours) {
			continue
		}
		what := difference{theirErr, ourErr, theirs, ours}
		i := slices.IndexFunc(reasons, func(r reason) bool { return r.explains(in, what) })
		if i < 0 {
			t.Errorf("%s %q\nupstream %s %v\nours     %s %v", in.stdin, in.args, theirs, theirErr, ours, ourErr)
			continue
		}
		name := reasons[i].name
		counts[name]++
		if example := strings.TrimSpace(in.stdin + " " + in.args); examples[name] == "" || len(example) < len(examples[name]) {
			examples[name] = example
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d configurations, read by upstream's parser and by ours. They differ in:\n", len(inputs))
	for _, r := range reasons {
		if counts[r.name] == 0 {
			t.Errorf("nothing differs for the reason %q: remove it", r.name)
		}
		fmt.Fprintf(&text, "\n%s: %d\n  %s\n  %s\n", r.name, counts[r.name], r.why, examples[r.name])
	}
	golden.Compare(t, "upstream.txt", text.String())
}

type difference struct {
	theirErr, ourErr error
	theirs, ours     string
}

// A reason explains a difference.
type reason struct {
	name, why string
	explains  func(input, difference) bool
}

// weRefuse matches our error, where upstream has none.
func weRefuse(pattern string) func(input, difference) bool {
	matches := regexp.MustCompile(pattern)
	return func(_ input, d difference) bool {
		return d.theirErr == nil && d.ourErr != nil && matches.MatchString(d.ourErr.Error())
	}
}

// weAccept matches upstream's error, where we have none.
func weAccept(pattern string) func(input, difference) bool {
	matches := regexp.MustCompile(pattern)
	return func(_ input, d difference) bool {
		return d.ourErr == nil && d.theirErr != nil && matches.MatchString(d.theirErr.Error())
	}
}

var reasons = []reason{
	{"small subnets", "RFC 3021 and RFC 6164 have networks of two addresses; upstream hands out none of them.", weAccept("too small to allocate from")},
	{"no address", "No ADD could succeed: the ranges hold nothing but gateways.", weRefuse("has no address besides its gateway")},
	{"reversed ranges", "The default end lies before the start; upstream hands out what lies outside.", weRefuse("comes before rangeStart")},
	{"names", "The name is a directory's. Upstream's plugin refuses it as well, elsewhere (CNI specification, section 1).", weRefuse("^name ")},
	{"routes without destination", "Upstream's result has the dst \"<nil>\", which no runtime can read.", weRefuse("dst is missing")},
	{"args before CNI_ARGS", "For one range set, args win (CNI conventions, \"args in network config\"); upstream then fails, as one set gives one address.",
		func(in input, d difference) bool {
			return d.theirErr == nil && d.ourErr == nil && in.args != "" && strings.Contains(in.stdin, `"args"`)
		}},
	{"arguments of others", "CNI_ARGS is shared by all plugins of a chain; what is not for this one is not its business.", weAccept("^ARGS: (unknown args|invalid pair|error parsing value of pair \"IgnoreUnknown)")},
	{"capabilities", "libcni loads no such configuration: capabilities are a map of booleans.", weRefuse("capabilities")},
	{"type", "The key is the main plugin's, and pkg/attach reads it.", weAccept("ipam.type of type string")},
	{"versions", "pkg/attach refuses a version that there is not.", weAccept("^CNI version v1.0.0")},
}

// readByUpstream gives what upstream understands, as text.
func readByUpstream(in input) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	c, _, err := allocator.LoadIPAMConfig([]byte(in.stdin), in.args)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, set := range c.Ranges {
		for _, r := range set {
			fmt.Fprintf(&b, "%v %v-%v via %v; ", (*net.IPNet)(&r.Subnet), r.RangeStart, r.RangeEnd, r.Gateway)
		}
		b.WriteString("| ")
	}
	var requested []string
	for _, a := range c.IPArgs {
		requested = append(requested, a.String())
	}
	slices.Sort(requested)
	fmt.Fprintf(&b, "requested %v, ", slices.Compact(requested))
	for _, r := range c.Routes {
		fmt.Fprintf(&b, "route %v via %v mtu %d; ", &r.Dst, r.GW, r.MTU)
	}
	fmt.Fprintf(&b, "resolv %s", c.ResolvConf)
	return b.String(), nil
}

func readByUs(in input) (string, error) {
	c, err := Parse([]byte(in.stdin), in.args)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, set := range c.Ranges {
		for _, r := range set {
			fmt.Fprintf(&b, "%v %v-%v via %v; ", r.Subnet, r.Start, r.End, r.Gateway)
		}
		b.WriteString("| ")
	}
	var requested []string
	for _, a := range c.Requested {
		requested = append(requested, a.String())
	}
	slices.Sort(requested)
	fmt.Fprintf(&b, "requested %v, ", requested)
	for _, r := range c.Routes {
		gw := "<nil>"
		if r.GW.IsValid() {
			gw = r.GW.String()
		}
		fmt.Fprintf(&b, "route %v via %v mtu %d; ", r.Dst, gw, r.MTU)
	}
	fmt.Fprintf(&b, "resolv %s", c.ResolvConf)
	return b.String(), nil
}

var (
	someSubnets = []string{"10.1.0.0/24", "10.1.0.0/30", "10.1.0.0/31", "10.1.0.1/32", "fd00::/64", "fd00::/127", "fd00::1/128", "0.0.0.0/0", "::/0",
		"255.255.255.0/24", "10.1.0.0/024", "010.1.0.0/24", "::ffff:10.1.0.0/120", "FD00::/64", "fd00::%eth0/64", "10.1.0.0/29",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:0/112", "10.1.0.5/24", "10.1.0.0", "10.1.0.0/33", ""}
	someAddresses = []string{"-", "", "10.1.0.1", "10.1.0.2", "10.1.0.5", "10.2.0.1", "169.254.1.1", "fe80::1", "fd00::5", "fd00::ffff", "::ffff:10.1.0.5",
		"10.1.0.0", "10.1.0.255", "0.0.0.0", "::", "255.255.255.255", "010.1.0.5", "fe80::1%eth0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ten"}
)

// pair is a key with its value, or nothing for "-".
func pair(key, value string) string {
	if value == "-" {
		return ""
	}
	return fmt.Sprintf(", %q: %q", key, value)
}

func config(ipam string) input {
	return input{stdin: `{"cniVersion": "1.0.0", "name": "net", "ipam": {` + ipam + `}}`}
}

// rangeInputs is every gateway and every pair of ends with every subnet.
func rangeInputs() []input {
	var all []input
	for _, s := range someSubnets {
		for _, a := range someAddresses {
			all = append(all,
				config(fmt.Sprintf(`"ranges": [[{"subnet": %q%s}]]`, s, pair("gateway", a))),
				config(fmt.Sprintf(`"subnet": %q%s`, s, pair("gateway", a))))
			for _, b := range someAddresses {
				all = append(all, config(fmt.Sprintf(`"ranges": [[{"subnet": %q%s%s}]]`, s, pair("rangeStart", a), pair("rangeEnd", b))))
			}
		}
	}
	return all
}

// keyInputs has odd values of every other key.
func keyInputs() []input {
	var all []input
	for _, x := range []string{
		`"routes": [{"dst": "0.0.0.0/0"}]`, `"routes": [{"dst": "10.0.0.0/08"}]`, `"routes": [{"dst": "0.0.0.0/0", "gw": ""}]`,
		`"routes": [{"dst": "0.0.0.0/0", "gw": null}]`, `"routes": [{}]`, `"routes": [null]`, `"routes": null`, `"routes": [{"gw": "10.1.0.1"}]`,
		`"routes": [{"dst": "0.0.0.0/0", "mtu": "1400"}]`, `"routes": [{"dst": "0.0.0.0/0", "mtu": 1400}]`,
		`"routes": [{"dst": "0.0.0.0/0", "priority": -1}]`, `"routes": [{"dst": "0.0.0.0/0", "scope": null}]`, `"routes": [{"dst": "::ffff:10.0.0.0/104"}]`,
		`"routes": [{"dst": "10.0.0.5/8"}]`, `"routes": [{"dst": ""}]`, `"routes": [{"dst": null}]`, `"routes": [{"dst": "default"}]`, `"routes": {}`,
		`"routes": [{"dst": "::/0", "gw": "fe80::1"}]`,
		`"resolvConf": null`, `"resolvConf": "/etc/resolv.conf"`, `"resolvConf": 5`, `"dataDir": null`, `"dataDir": "relative"`, `"gateway": null`,
		`"rangeStart": null`, `"ranges": null`, `"ranges": []`, `"ranges": [[]]`, `"ranges": [null]`, `"ranges": {}`, `"foo": 1`, `"type": 5`, `"type": null`,
	} {
		all = append(all, config(`"subnet": "10.1.0.0/24", `+x), config(x))
	}
	for _, x := range []string{
		`"args": null`, `"args": {"cni": null}`, `"args": {"cni": {"ips": null}}`, `"args": {"cni": {"ips": []}}`, `"args": {"cni": {"ips": ["10.1.0.5"]}}`,
		`"args": {"cni": {"ips": ["10.1.0.5/24"]}}`, `"args": {"cni": {"ips": ["10.1.0.5/8"]}}`, `"args": {"cni": {"ips": ["10.1.0.5", "10.1.0.5"]}}`,
		`"args": {"cni": {"ips": [""]}}`, `"args": {"cni": {"ips": [null]}}`, `"args": {"cni": {"ips": ["::ffff:10.1.0.5"]}}`, `"args": {"cni": {"ips": "10.1.0.5"}}`,
		`"args": "x"`, `"args": {"cni": "x"}`, `"args": {"org.mesos": {"a": 1}}`, `"args": {"cni": {"ips": ["10.1.0.5/024"]}}`,
		`"runtimeConfig": null`, `"runtimeConfig": {"ips": ["10.1.0.5/24"]}`, `"runtimeConfig": {"ips": null}`,
		`"runtimeConfig": {"ipRanges": [[{"subnet": "10.9.0.0/24"}]]}`, `"runtimeConfig": {"ipRanges": null}`, `"runtimeConfig": {"ipRanges": []}`,
		`"runtimeConfig": {"ipRanges": [[]]}`, `"runtimeConfig": {"ips": ["fd00::1%eth0"]}`, `"runtimeConfig": {"ips": [""]}`,
		`"capabilities": {"ips": true}`, `"capabilities": {"ipRanges": "true"}`, `"capabilities": {"ipRanges": true}`, `"capabilities": null`,
		`"capabilities": {"ipRanges": null}`, `"capabilities": []`, `"dns": 5`, `"prevResult": 5`, `"cni.dev/valid-attachments": 5`,
	} {
		all = append(all, input{stdin: `{"cniVersion": "1.0.0", "name": "net", "ipam": {"subnet": "10.1.0.0/24"}, ` + x + `}`})
	}
	for _, args := range []string{"", "IP=10.1.0.5", "IP=10.1.0.5/24", "IP=", "IgnoreUnknown=1;IP=10.1.0.5", "IgnoreUnknown=true;FOO=bar", "FOO=bar",
		"IP=10.1.0.5;IP=10.1.0.6", "ip=10.1.0.5", "IP=10.1.0.5;", ";IP=10.1.0.5", "IP", "IgnoreUnknown=1;K=a=b", "IgnoreUnknown=1;FOO", "IP=fd00::5", "IP= 10.1.0.5",
		"IP=10.1.0.5,10.1.0.6", "IgnoreUnknown=x", "IgnoreUnknown=0;FOO=bar"} {
		all = append(all, input{config(`"subnet": "10.1.0.0/24"`).stdin, args},
			input{`{"cniVersion": "1.0.0", "name": "net", "ipam": {"subnet": "10.1.0.0/24"}, "args": {"cni": {"ips": ["10.1.0.7"]}}}`, args})
	}
	for _, v := range []string{`"cniVersion": "0.1.0", `, `"cniVersion": "0.2.0", `, `"cniVersion": "", `, ``, `"cniVersion": "0.3.0", `, `"cniVersion": "v1.0.0", `,
		`"cniVersion": "0.3", `, `"cniVersion": 1, `} {
		all = append(all, input{stdin: `{` + v + `"name": "net", "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}}`})
	}
	for _, n := range []string{`"name": "net", `, `"name": "", `, ``, `"name": "a b", `, `"name": "../x", `, `"name": ".x", `, `"Name": "net", `, `"name": 5, `} {
		all = append(all, input{stdin: `{"cniVersion": "1.0.0", ` + n + `"ipam": {"subnet": "10.1.0.0/24"}}`})
	}
	for _, whole := range []string{``, `{`, `[]`, `{}`, `{"name": "net"}`, `{"name": "net", "ipam": null}`, `{"name": "net", "ipam": []}`, `{"name": "net", "ipam": {}}`} {
		all = append(all, input{stdin: whole})
	}
	return all
}

// randomInputs combines sound and unsound values.
func randomInputs(n int) []input {
	random := rand.New(rand.NewPCG(7, 8))
	one := func(from ...string) string { return from[random.IntN(len(from))] }
	rangeOf := func() string {
		net := one("10.1.0", "10.1.1", "10.2.0", "fd00::1", "fd00::2")
		subnet, dot := net+".0/2"+one("4", "5", "8"), "."
		if strings.Contains(net, ":") {
			subnet, dot = net+":0/1"+one("12", "20"), ":"
		}
		end := func() string { return one("-", "-", net+dot+fmt.Sprint(random.IntN(9)), net+dot+"10") }
		return fmt.Sprintf(`{"subnet": %q%s%s%s}`, subnet, pair("rangeStart", end()), pair("rangeEnd", end()),
			pair("gateway", one("-", end(), "fe80::1", "10.1.0.1")))
	}
	list := func(most int, item func() string) string {
		var items []string
		for range random.IntN(most + 1) {
			items = append(items, item())
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	set := func() string { return "[" + rangeOf() + one("", ", "+rangeOf()) + "]" }
	address := func() string {
		return fmt.Sprintf("%q", one("10.1.0.5", "10.1.1.6/24", "fd00::1:7", "10.9.0.9", fmt.Sprintf("10.1.0.%d", random.IntN(20))))
	}
	var all []input
	for range n {
		ipam := one(`"ranges": `+list(3, set), strings.Trim(rangeOf(), "{}"), strings.Trim(rangeOf(), "{}")+`, "ranges": `+list(2, set))
		routes := list(2, func() string {
			return fmt.Sprintf(`{"dst": %q%s}`, one("0.0.0.0/0", "10.8.0.0/16", "::/0"), pair("gw", one("-", "10.1.0.1", "fe80::1")))
		})
		runtime := one("", `"ips": `+list(2, address), `"ipRanges": `+list(2, set))
		all = append(all, input{
			stdin: fmt.Sprintf(`{"cniVersion": %q, "name": "net", "ipam": {%s, "routes": %s}, "runtimeConfig": {%s}, "args": {"cni": {"ips": %s}}}`,
				one("1.0.0", "1.1.0", "0.4.0", "0.2.0"), ipam, routes, runtime, list(1, address)),
			args: one("", "", "IgnoreUnknown=1;IP="+strings.Trim(address(), `"`)),
		})
	}
	return all
}
