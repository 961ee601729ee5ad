package conflist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// Definition is a network to be written.
type Definition struct {
	Name string
	// CNIVersions are those that all plugins know, in ascending order. The first is what libraries before 1.2 use, which know
	// one version only. Empty: 1.0.0.
	CNIVersions []string
	// Plugins are the configurations, each marshalled as an object with the key type. None when About.ConfigOnly.
	Plugins []any
	Labels  map[string]string // nil: none
	About   About
}

// fileName is where the definition goes. Most runtimes that take the first file look for one that begins with digits.
func (d Definition) fileName() string {
	ending := listEnding
	if d.About.ConfigOnly {
		ending = templateEnding
	}
	return fileNamePrefix + d.Name + ending
}

const fileNamePrefix = "fairway-"

// Encode gives the file's content, and checks that it can be read again.
func (d Definition) Encode() ([]byte, error) {
	if err := CheckName(d.Name); err != nil {
		return nil, err
	}
	f := file{CNIVersion: "1.0.0", Name: d.Name, NerdctlID: IDOf(d.Name), NerdctlLabels: nonNil(d.Labels), Fairway: &d.About}
	if len(d.CNIVersions) > 0 {
		f.CNIVersion = d.CNIVersions[0]
	}
	if len(d.CNIVersions) > 1 {
		f.CNIVersions = d.CNIVersions
	}
	for i, p := range d.Plugins {
		conf, err := marshal(p)
		if err != nil {
			return nil, fmt.Errorf("plugin %d of network %s: %w", i, d.Name, err)
		}
		f.Plugins = append(f.Plugins, conf)
	}
	content, err := marshal(f)
	if err != nil {
		return nil, err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, content, "", "  "); err != nil {
		return nil, err
	}
	_, err = d.parse(pretty.Bytes())
	return pretty.Bytes(), err
}

// marshal leaves <, > and & as they are: the file is for people as well.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return b.Bytes(), err
}

// Network is what the definition will be read as. It has no File.
func (d Definition) Network() (Network, error) {
	content, err := d.Encode()
	if err != nil {
		return Network{}, err
	}
	return d.parse(content)
}

func (d Definition) parse(content []byte) (Network, error) {
	if d.About.ConfigOnly {
		return parseTemplate(content)
	}
	list, err := libcni.NetworkConfFromBytes(content)
	if err != nil {
		return Network{}, errors.New(strings.TrimPrefix(err.Error(), "error parsing configuration list: "))
	}
	return describe(list)
}
