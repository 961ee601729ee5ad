package attachment

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// nextIfName is the one of eth0, eth1, … after all that are taken: Docker uses no number again in a running container. By it, a network
// that is connected later comes last for the default route.
func nextIfName(taken []string) string {
	next := uint64(0)
	for _, name := range taken {
		digits, is := strings.CutPrefix(name, "eth")
		if number, err := strconv.ParseUint(digits, 10, 16); is && err == nil {
			next = max(next, number+1)
		}
	}
	return "eth" + strconv.FormatUint(next, 10)
}

// linkNames is the names of all links in a namespace.
func linkNames(netns string) ([]string, error) {
	k, err := kernel.Open(netns)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	links, err := kernel.Dump(k.Container.LinkList)
	if err != nil {
		return nil, fmt.Errorf("links of %s: %w", netns, err)
	}
	names := make([]string, len(links))
	for i, link := range links {
		names[i] = link.Attrs().Name
	}
	return names, nil
}
