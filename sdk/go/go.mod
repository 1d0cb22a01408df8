module github.com/hookhub/hookhub/sdk/go

go 1.24
