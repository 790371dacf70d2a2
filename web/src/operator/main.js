// Entry point of the operators' page: signs in as the chat's page does, and starts the desk.
import "../storage.js"; // first: the others use what it replaces
import { Session } from "../session.js";
import { useLanguage } from "../texts.js";
import "../theme.js";
import "./desk.js";

const config = JSON.parse(document.getElementById("page-config").textContent);
await useLanguage(config);
const session = new Session(config.auth, { tokenHeader: config.token_header });
document.querySelector("chat-app").start({ config, session });
