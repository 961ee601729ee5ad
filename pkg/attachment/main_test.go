package attachment

import (
	"testing"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.RunAlone(m) }
