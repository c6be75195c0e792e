#include "server/effective_config.h"

#include "gtest/gtest.h"

namespace ebb::server {
namespace {

TEST(EffectiveConfigTest, TheCommandLineWinsOverTheFile) {
  Flags flags;
  flags.config = "configs/cpu.json";
  flags.sets = {"server.listen=127.0.0.1:1", "decode_window.steps=5", "decode_window.steps=6"};
  const auto set = EffectiveConfig(flags);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->server.listen, "127.0.0.1:1");
  EXPECT_EQ(set->decode_window.steps, 6);
  flags.listen = "127.0.0.1:2";
  flags.http_listen = "off";
  flags.model = "m.gguf";
  const auto flagged = EffectiveConfig(flags);
  ASSERT_TRUE(flagged.ok()) << flagged.status();
  EXPECT_EQ(flagged->server.listen, "127.0.0.1:2");
  EXPECT_EQ(set->server.http_listen, "auto");
  EXPECT_EQ(flagged->server.http_listen, "off");
  EXPECT_EQ(flagged->model.path, "m.gguf");
}

TEST(EffectiveConfigTest, RefusesWhatCannotBeServed) {
  Flags flags;
  flags.sets = {"no.such=1"};
  EXPECT_EQ(EffectiveConfig(flags).status().code(), absl::StatusCode::kInvalidArgument);
  flags.sets = {};
  flags.listen = "nowhere";
  EXPECT_EQ(EffectiveConfig(flags).status().code(), absl::StatusCode::kInvalidArgument);
  flags = Flags();
  flags.http_listen = "8000";
  EXPECT_EQ(EffectiveConfig(flags).status().code(), absl::StatusCode::kInvalidArgument);
  flags = Flags();
  flags.config = "configs/none.json";
  EXPECT_FALSE(EffectiveConfig(flags).ok());
}

TEST(EffectiveConfigTest, ControlMayHaveASocket) {
  Flags flags;
  flags.sets = {"server.control_listen=unix:/run/ebb/control.sock"};
  EXPECT_TRUE(EffectiveConfig(flags).ok());
  flags.sets = {"server.control_listen=unix:"};
  EXPECT_TRUE(absl::IsInvalidArgument(EffectiveConfig(flags).status()));
}

TEST(EffectiveConfigTest, UsersTokensDoNotOpenControlsAddress) {
  Flags flags;
  flags.sets = {"server.control_listen=unix:/run/ebb/control.sock", "security.tokens_file=users"};
  const auto refused = EffectiveConfig(flags);
  ASSERT_TRUE(absl::IsInvalidArgument(refused.status())) << refused.status();
  EXPECT_NE(refused.status().message().find("security.control_tokens_file"), std::string::npos);
  flags.sets.push_back("security.control_tokens_file=users");
  EXPECT_FALSE(EffectiveConfig(flags).ok()) << "one file for both";
  flags.sets.push_back("security.control_tokens_file=operators");
  EXPECT_TRUE(EffectiveConfig(flags).ok());
}

TEST(EffectiveConfigTest, OperatorsTokensGuardControlAlone) {
  Flags flags;
  flags.sets = {"server.control_listen=0.0.0.0:1", "security.control_tokens_file=operators"};
  EXPECT_TRUE(EffectiveConfig(flags).ok());
  flags.sets.push_back("server.http_listen=0.0.0.0:2");
  EXPECT_FALSE(EffectiveConfig(flags).ok());
}

TEST(EffectiveConfigTest, TheHashIsThatOfTheSettings) {
  config::ServerConfig config;
  const std::string hash = ConfigHash(config);
  EXPECT_EQ(hash.size(), 16u);
  EXPECT_EQ(ConfigHash(config), hash);
  config.decode_window.steps += 1;
  EXPECT_NE(ConfigHash(config), hash);
}

TEST(EffectiveConfigTest, AnOpenServerMustBeAskedFor) {
  for (const char* listen : {"server.listen=0.0.0.0:1", "server.http_listen=[::]:1",
                             "server.control_listen=0.0.0.0:1"}) {
    Flags flags;
    flags.sets = {listen};
    const auto refused = EffectiveConfig(flags);
    ASSERT_TRUE(absl::IsInvalidArgument(refused.status())) << refused.status();
    EXPECT_NE(refused.status().message().find("security.allow_open"), std::string::npos);
    flags.sets = {listen, "security.allow_open=true"};
    EXPECT_TRUE(EffectiveConfig(flags).ok());
    flags.sets = {listen, "security.tokens_file=/etc/ebb/tokens",
                  "security.control_tokens_file=/etc/ebb/operators"};
    EXPECT_TRUE(EffectiveConfig(flags).ok());
    // TLS alone lets everybody in.
    flags.sets = {listen, "security.tls_certificate_file=crt", "security.tls_key_file=key"};
    EXPECT_FALSE(EffectiveConfig(flags).ok());
    flags.sets.push_back("security.tls_client_ca_file=ca");
    EXPECT_TRUE(EffectiveConfig(flags).ok());
  }
}

}  // namespace
}  // namespace ebb::server
