package snapshot

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// isolate marks the ports that are isolated. The netlink library asks for all ports again for each of them.
func isolate(n *kernel.Namespace, links []Link) error {
	var isolated map[int]bool
	for i := range links {
		if links[i].Master == 0 {
			continue
		}
		if isolated == nil {
			var err error
			if isolated, err = isolatedPorts(n); err != nil {
				return fmt.Errorf("bridge link show: %w", err)
			}
		}
		links[i].Isolated = isolated[links[i].Index]
	}
	return nil
}

// isolatedPorts lists the links of the family of bridges: an answer holds the port's attributes in IFLA_PROTINFO.
func isolatedPorts(n *kernel.Namespace) (map[int]bool, error) {
	answers, err := kernel.Dump(func() (answers [][]byte, err error) {
		err = n.Do(func() error {
			request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
			request.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
			answers, err = request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
			return err
		})
		return answers, err
	})
	if err != nil {
		return nil, err
	}
	isolated := make(map[int]bool)
	for _, answer := range answers {
		message := nl.DeserializeIfInfomsg(answer)
		attributes, err := nl.ParseRouteAttrAsMap(answer[message.Len():])
		if err != nil {
			return nil, err
		}
		port, err := nl.ParseRouteAttrAsMap(attributes[unix.IFLA_PROTINFO|unix.NLA_F_NESTED].Value)
		if err != nil {
			return nil, err
		}
		if value := port[nl.IFLA_BRPORT_ISOLATED].Value; len(value) > 0 && value[0] == 1 {
			isolated[int(message.Index)] = true
		}
	}
	return isolated, nil
}
