package embed

// These packages replace kine's in the second binary. They are imported here so that go.mod has them.
import (
	_ "github.com/stele-db/stele/pkg/client"
	_ "github.com/stele-db/stele/pkg/endpoint"
	_ "github.com/stele-db/stele/pkg/tls"
)
