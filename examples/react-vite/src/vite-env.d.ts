/// <reference types="vite/client" />

interface ImportMetaEnv {
  readonly VITE_CHAT_URL?: string;
  readonly VITE_CHAT_DOMAIN_KEY?: string;
  readonly VITE_CHAT_TOKEN_URL?: string;
}
