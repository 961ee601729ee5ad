package main

import (
	"net"
	"path"
	"strings"

	"github.com/fairway-cni/fairway/pkg/attach"
)

// conf is the configuration. The keys, their meaning and their order of precedence are those of the upstream plugin v1.9.1.
type conf struct {
	DataDir string `json:"dataDir"`
	Settings
	Promisc bool `json:"promisc"`
	MTU     int  `json:"mtu"` // bytes; 0: as it is

	RuntimeConfig struct {
		MAC string `json:"mac"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			Settings
			Promisc *bool `json:"promisc"`
			MTU     *int  `json:"mtu"`
		} `json:"cni"`
	} `json:"args"`

	mac net.HardwareAddr // nil: as it is
	// parameters have the key as the configuration has it, and as a file below /proc/sys.
	parameters []parameter
}

// Settings is the keys that a user may give for one container as well.
type Settings struct {
	Sysctl   sysctls `json:"sysctl"`
	MAC      string  `json:"mac"`
	AllMulti *bool   `json:"allmulti"` // nil: as it is
	TxQLen   *int    `json:"txQLen"`   // packets; nil: as it is
}

type parameter struct{ key, file, value string }

// defaultDataDir is upstream's.
const defaultDataDir = "/run/cni/tuning"

func parse(stdin []byte, env attach.Env) (conf, error) {
	c := conf{DataDir: defaultDataDir}
	if err := attach.Decode(stdin, &c); err != nil {
		return c, err
	}
	if c.DataDir == "" {
		c.DataDir = defaultDataDir
	}
	c.override()
	var err error
	if c.mac, err = c.askedMAC(env); err != nil {
		return c, err
	}
	if err := c.check(); err != nil {
		return c, err
	}
	for _, s := range c.Sysctl {
		file, err := fileOf(s.key, env.IfName)
		if err != nil {
			return c, err
		}
		c.parameters = append(c.parameters, parameter{s.key, file, s.value})
	}
	return c, nil
}

// override takes what args.cni says for one container.
func (c *conf) override() {
	asked := c.Args.CNI
	for _, s := range asked.Sysctl {
		c.Sysctl.set(s.key, s.value)
	}
	if asked.Promisc != nil {
		c.Promisc = *asked.Promisc
	}
	if asked.MTU != nil {
		c.MTU = *asked.MTU
	}
	if asked.AllMulti != nil {
		c.AllMulti = asked.AllMulti
	}
	if asked.TxQLen != nil {
		c.TxQLen = asked.TxQLen
	}
}

// askedMAC is the last that is given, in upstream's order.
func (c *conf) askedMAC(env attach.Env) (mac net.HardwareAddr, err error) {
	for _, place := range []struct{ name, value string }{
		{"key mac", c.MAC}, {"MAC in CNI_ARGS", env.Arg("MAC")},
		{"runtimeConfig.mac", c.RuntimeConfig.MAC}, {"args.cni.mac", c.Args.CNI.MAC},
	} {
		if place.value == "" {
			continue
		}
		if mac, err = net.ParseMAC(place.value); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return nil, attach.Invalidf("%s is %q: give a unicast Ethernet address such as 02:00:00:00:00:01", place.name, place.value)
		}
	}
	return mac, nil
}

// check refuses values that no link can have.
func (c *conf) check() error {
	if c.MTU < 0 {
		return attach.Invalidf("key mtu is %d: give the bytes of a packet, or leave it out", c.MTU)
	}
	if c.TxQLen != nil && *c.TxQLen < 0 {
		return attach.Invalidf("key txQLen is %d: give the packets of the queue, or leave it out", *c.TxQLen)
	}
	return nil
}

// fileOf is the file below /proc/sys of a parameter of the network. Its parts are separated by dots or by slashes, as
// sysctl(8) has it: where a slash comes first, a dot is one of a link's name. IFNAME stands for the interface.
func fileOf(key, ifName string) (string, error) {
	file := key
	if dot := strings.IndexByte(key, '.'); dot >= 0 && !strings.Contains(key[:dot], "/") {
		file = strings.ReplaceAll(key, ".", "/")
	}
	file = path.Clean("/" + strings.Replace(file, "IFNAME", ifName, 1))[1:]
	if !strings.HasPrefix(file, "net/") {
		return "", attach.Invalidf("key sysctl has %q: give parameters of the network, such as net.core.somaxconn", key)
	}
	return file, nil
}
