package embed

// What the second binary imports in the place of kine's packages, so that it is in go.mod.
import (
	_ "github.com/stele-db/stele/pkg/client"
	_ "github.com/stele-db/stele/pkg/endpoint"
	_ "github.com/stele-db/stele/pkg/tls"
)
